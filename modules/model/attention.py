"""Attention with T5's position bias: softmax(q k^T + bias) v, unscaled.

On CPUs PyTorch's fused kernel is slower than plain matrix products, and knows neither dropout nor
a gradient for the bias; the way around it keeps several (B, H, S, S) tensors a layer for the
backward pass. ``_CpuAttention`` takes a few users at a time, so that their scores stay in the
cache, and computes the probabilities anew in the backward pass.
"""

from collections.abc import Iterator

import torch
from torch.nn.functional import scaled_dot_product_attention

from modules.model.dropout import keep, keep_bits, own_kernels

_CHUNK = 1 << 20  # scores worked on at a time: 4 MB in float32


def closed_keys(mask: torch.Tensor) -> torch.Tensor | None:
    """(B, S) mask, 0 on pads -> (B, 1, 1, S) float32 to be added to scores: 0, or -inf on pads.
    None where there are no pads; a GPU is not asked, for that would wait for it."""
    if own_kernels(mask) and bool(mask.all()):
        return None
    closed = torch.zeros_like(mask, dtype=torch.float32)
    return closed.masked_fill_(mask == 0, float("-inf"))[:, None, None, :]


def biased_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias: torch.Tensor | None,
    closed: torch.Tensor | None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """softmax(q k^T + bias + closed) v, with dropout on the probabilities.

    Any argument may have batch size 1 where all users share it. With gradients, q, k and v have
    all B users and the bias is shared: the encoder's case.

    Args:
        q: (B, H, Q, d).
        k, v: (B, H, S, d).
        bias: (B, H, Q, S), float32 (float64 in a float64 model); None: no bias.
        closed: (B, 1, 1, S) from ``closed_keys``; None: all keys may be attended to.
        dropout: probability of dropping an entry.

    Returns:
        (B, H, Q, d).
    """
    if own_kernels(q) and (closed is not None or torch.is_grad_enabled()):
        return _CpuAttention.apply(q, k, v, bias, closed, dropout)
    parts = [part for part in (bias, closed) if part is not None]
    added = sum(parts[1:], parts[0]).to(q.dtype) if parts else None
    b = max(len(q), len(k))
    q, k, v = (x.expand(b, -1, -1, -1) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, added, dropout, scale=1.0)


class _CpuAttention(torch.autograd.Function):
    """A few users at a time. Products in q's type, softmax in the bias's (float32)."""

    @staticmethod
    def forward(ctx, q, k, v, bias, closed, dropout):
        b, (heads, n, d) = max(len(q), len(k)), q.shape[1:]
        bits = keep_bits(torch.Size((b, heads, n, k.shape[2])), dropout) if dropout else None
        # (B, Q, H, d) in memory, so that merging the heads copies nothing.
        out = q.new_empty(b, n, heads, d).transpose(1, 2)
        scale = 1 / (1 - dropout)
        for rows in _chunks(b, heads * n * k.shape[2]):
            p = _probabilities(q, k, bias, closed, rows).to(v.dtype)
            values = _part(v, rows) * scale if dropout else _part(v, rows)
            out[rows] = keep(p, _part(bits, rows)) @ values
        ctx.save_for_backward(q, k, v, bias, closed, bits)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, bias, closed, bits = ctx.saved_tensors
        grad_q, grad_k, grad_v = (torch.empty_like(x) for x in (q, k, v))
        grad_bias = torch.zeros_like(bias)
        for rows in _chunks(len(q), bias.numel()):
            p, kept = _probabilities(q, k, bias, closed, rows), _part(bits, rows)
            g = grad[rows] * ctx.scale
            grad_v[rows] = keep(p.to(v.dtype), kept).mT @ g
            grad_p = keep(g @ v[rows].mT, kept).to(p.dtype)
            # Through the softmax: p * (grad_p - sum(grad_p * p)), in one pass.
            grad_s = torch.ops.aten._softmax_backward_data(grad_p, p, -1, p.dtype)
            grad_bias += grad_s.sum(dim=0, keepdim=True) if len(grad_s) > 1 else grad_s
            grad_s = grad_s.to(q.dtype)
            grad_q[rows] = grad_s @ k[rows]
            grad_k[rows] = grad_s.mT @ q[rows]
        return grad_q, grad_k, grad_v, grad_bias, None, None


def _chunks(b: int, scores_a_user: int) -> Iterator[slice]:
    size = max(1, _CHUNK // scores_a_user)
    return (slice(at, at + size) for at in range(0, b, size))


def _part(x: torch.Tensor | None, rows: slice) -> torch.Tensor | None:
    """The rows of x, or all of what is shared by all users."""
    return x if x is None or len(x) == 1 else x[rows]


def _probabilities(q, k, bias, closed, rows: slice) -> torch.Tensor:
    """(b, H, Q, S), before dropout."""
    scores = _part(q, rows) @ _part(k, rows).mT
    for added in (bias, closed):
        if added is not None:
            scores = scores + _part(added, rows)
    return scores.softmax(dim=-1)
