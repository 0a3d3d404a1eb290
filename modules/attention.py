"""Attention with T5's position bias, for the encoder: softmax(q k^T + bias) v, unscaled.

On CPUs PyTorch's fused kernel is slower than plain matrix products, and knows neither dropout nor
a gradient for the bias; the way around it keeps several (B, H, S, S) tensors a layer for the
backward pass. ``_CpuAttention`` takes a few users at a time, so that their scores stay in the
cache, and computes the probabilities anew in the backward pass.
"""

from collections.abc import Iterator

import torch
from torch.nn.functional import scaled_dot_product_attention

from modules.dropout import keep, keep_bits

_CHUNK = 1 << 20  # scores worked on at a time: 4 MB in float32


def biased_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor,
    dropout: float,
) -> torch.Tensor:
    """softmax(q k^T + bias) v, with dropout on the probabilities.

    Args:
        q, k, v: (B, H, S, d).
        bias: (1, H, S, S), float32 (float64 in a float64 model).
        mask: (B, S) nonzero on the keys that may be attended to.
        dropout: probability of dropping an entry.

    Returns:
        (B, H, S, d).
    """
    closed = torch.zeros_like(mask, dtype=bias.dtype).masked_fill_(mask == 0, float("-inf"))
    closed = closed[:, None, None, :]  # (B, 1, 1, S), to be added to scores
    if q.device.type == "cpu":
        return _CpuAttention.apply(q, k, v, bias, closed, dropout)
    return scaled_dot_product_attention(q, k, v, (bias + closed).to(q.dtype), dropout, scale=1.0)


class _CpuAttention(torch.autograd.Function):
    """A few users at a time. Products in q's type, softmax in the bias's (float32)."""

    @staticmethod
    def forward(ctx, q, k, v, bias, closed, dropout):
        bits = keep_bits(torch.Size((len(q), *bias.shape[1:])), dropout) if dropout else None
        # (B, S, H, d) in memory, so that merging the heads copies nothing.
        out = torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format)
        out = out.transpose(1, 2)
        scale = 1 / (1 - dropout)
        for rows in _chunks(q):
            p = _probabilities(q, k, bias, closed, rows).to(v.dtype)
            torch.matmul(keep(p, _part(bits, rows)), v[rows] * scale, out=out[rows])
        ctx.save_for_backward(q, k, v, bias, closed, bits)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, bias, closed, bits = ctx.saved_tensors
        grad_q, grad_k, grad_v = (torch.empty_like(x) for x in (q, k, v))
        grad_bias = torch.zeros_like(bias)
        for rows in _chunks(q):
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


def _chunks(q: torch.Tensor) -> Iterator[slice]:
    b, heads, s, _ = q.shape
    size = max(1, _CHUNK // (heads * s * s))
    return (slice(at, at + size) for at in range(0, b, size))


def _part(x: torch.Tensor | None, rows: slice) -> torch.Tensor | None:
    return None if x is None else x[rows]


def _probabilities(q, k, bias, closed, rows: slice) -> torch.Tensor:
    """(b, H, S, S) float32, before dropout."""
    scores = q[rows] @ k[rows].mT + bias
    return scores.add_(closed[rows]).softmax(dim=-1)
