"""T5's encoder, read for speed: the weights and the numbers of transformers', fewer passes.

Prompts are long (420 tokens with 100 candidates), so the encoder is where the time goes. What is
different here: the position bias is one table for all users, never a copy a user; activations are
rounded to bf16 once, where a product needs them. Attention and dropout are our own on CPUs
(modules/model/attention.py, modules/model/dropout.py). There are no weights here.
"""

import torch
from torch import nn
from torch.nn.functional import pad
from transformers import T5ForConditionalGeneration

from modules.model.attention import biased_attention, closed_keys
from modules.model.dropout import add_dropped, dropout, own_kernels, relu_dropped

_TILE = 8  # numbers in bf16 that a GPU reads at once


def encode(
    t5: T5ForConditionalGeneration,
    embeds: torch.Tensor,
    mask: torch.Tensor,
    causal_from: int | None = None,
    wanted: slice = slice(None),
) -> torch.Tensor:
    """Encoder states (B, S, D), or of the positions that are wanted.

    Args:
        t5: the model.
        embeds: (B, S, D) what the encoder reads.
        mask: (B, S) 1 on what may be attended to.
        causal_from: from here on, a token attends to those before it only (and the tokens before
            here only to one another); None: all attend to all.
        wanted: positions whose states are asked for: the last layer is computed for them alone.
    """
    stack = t5.encoder
    p = stack.dropout.p if stack.training else 0.0
    first = stack.block[0].layer[0].SelfAttention
    bias = first.compute_bias(embeds.shape[1], embeds.shape[1], device=embeds.device)
    if causal_from is not None:
        later = torch.full(bias.shape[2:], float("-inf"), device=bias.device).triu_(1)
        later[:causal_from, :causal_from] = 0.0
        bias = bias + later
    bias = bias.contiguous()  # heads come last out of the embedding
    closed = closed_keys(mask)
    if not own_kernels(embeds):  # once for all layers, in the type of their scores
        bias, closed = for_product(bias + closed), None
    x = dropout(embeds, p)
    for block in stack.block:
        attention, feed_forward = block.layer
        own, h = attention.SelfAttention, for_product(attention.layer_norm(x))
        k, v = (split_heads(linear(h), own.n_heads) for linear in (own.k, own.v))
        if block is stack.block[-1]:
            x, h, bias = x[:, wanted], h[:, wanted], bias[:, :, wanted].contiguous()
        q = split_heads(own.q(h), own.n_heads)
        out = own.o(merge_heads(biased_attention(q, k, v, bias, closed, p)))
        x = add_feed_forward(feed_forward, add_dropped(x, out, p), p)
    return dropout(stack.final_layer_norm(x), p)


def in_whole_tiles(embeds: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """embeds (B, S, D) and mask (B, S), with pads up to a multiple of 8 positions. Else a GPU's
    attention copies the (B, H, S, S) biases of every layer into such a form."""
    more = -embeds.shape[1] % _TILE
    return (pad(embeds, (0, 0, 0, more)), pad(mask, (0, more))) if more else (embeds, mask)


def add_feed_forward(layer: nn.Module, x: torch.Tensor, p: float = 0.0) -> torch.Tensor:
    """x and what a T5LayerFF adds to it, both kinds of it (T5 and T5 1.1). p: of dropout."""
    dense, h, scale = layer.DenseReluDense, for_product(layer.layer_norm(x)), 1.0
    if hasattr(dense, "wi_0"):
        h = dropout(dense.act(dense.wi_0(h)) * dense.wi_1(h), p)
    elif isinstance(dense.act, nn.ReLU):
        h, scale = relu_dropped(dense.wi(h), p)
    else:
        h = dropout(dense.act(dense.wi(h)), p)
    return add_dropped(x, dense.wo(h), p, scale)


def for_product(x: torch.Tensor) -> torch.Tensor:
    """x in the type that autocast would round it to at each product."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, n, H * d) -> (B, H, n, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """(B, H, n, d) -> (B, n, H * d)."""
    return x.transpose(1, 2).flatten(2)
