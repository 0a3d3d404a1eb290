"""T5's decoder at its first step, where a target sees one encoder state: for item tokens.

With ``--causal`` a target is predicted from the state of the item before it, and an item that is
one token takes one step. Each attention then has one key, whose probability is 1: queries, keys and
position biases have no part in the result, and attention is a product with the values.
"""

import torch
from torch import nn
from transformers import T5ForConditionalGeneration

from modules.model.dropout import add_dropped, dropout
from modules.model.encoder import add_feed_forward, for_product


def first_step(t5: T5ForConditionalGeneration, states: torch.Tensor) -> torch.Tensor:
    """Decoder states after the start token, as ``t5.decoder`` gives them.

    Args:
        t5: the model.
        states: (N, 1, D) the one encoder state of each target.

    Returns:
        (N, 1, D), not scaled for the output projection.
    """
    stack = t5.decoder
    p = stack.dropout.p if stack.training else 0.0
    start = stack.embed_tokens.weight[t5.config.decoder_start_token_id]
    x = dropout(start.expand_as(states), p)
    seen = for_product(states)
    for block in stack.block:
        own, cross, feed_forward = block.layer
        x = add_dropped(x, _only_key(own.SelfAttention, for_product(own.layer_norm(x)), p), p)
        x = add_dropped(x, _only_key(cross.EncDecAttention, seen, p), p)
        x = add_feed_forward(feed_forward, x, p)
    return dropout(stack.final_layer_norm(x), p)


def _only_key(attention: nn.Module, seen: torch.Tensor, p: float) -> torch.Tensor:
    """Attention to ``seen`` (N, 1, D), the only key: dropout drops whole heads."""
    values = attention.v(seen)
    if p:
        kept = dropout(values.new_ones(len(values), 1, attention.n_heads, 1), p)
        values = (values.unflatten(-1, (attention.n_heads, -1)) * kept).flatten(2)
    return attention.o(values)
