"""The decoder's first step, held against transformers' decoder."""

import pytest
import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from modules.model.first_step import _only_key, first_step

START = 3


def t5(act: str = "relu", rate: float = 0.0) -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    size = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    config = T5Config(
        vocab_size=50,
        feed_forward_proj=act,
        dropout_rate=rate,
        decoder_start_token_id=START,
        **size,
    )
    return T5ForConditionalGeneration(config).train()


@pytest.mark.parametrize("act", ["relu", "gated-gelu"])
def test_states_and_gradients_equal_transformers(act: str) -> None:
    model = t5(act)
    generator = torch.Generator().manual_seed(1)
    given, weight = (torch.randn(7, 1, 32, generator=generator) for _ in range(2))
    start = torch.full((7, 1), START)
    found = []
    for run in (
        lambda x: first_step(model, x),
        lambda x: model.decoder(input_ids=start, encoder_hidden_states=x).last_hidden_state,
    ):
        model.zero_grad()
        states = given.clone().requires_grad_()
        out = run(states)
        (out * weight).sum().backward()
        named = model.decoder.named_parameters()
        found.append((out, states.grad, {n: p.grad for n, p in named if p.grad is not None}))
    (ours, our_states, our_grads), (theirs, their_states, their_grads) = found
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(our_states, their_states, rtol=1e-4, atol=1e-6)
    assert our_grads
    for name, grad in their_grads.items():  # where ours is none, theirs is nothing
        own = our_grads.get(name, torch.zeros_like(grad))
        torch.testing.assert_close(own, grad, rtol=1e-4, atol=1e-6, msg=name)


def test_dropout_of_the_only_key_drops_whole_heads_and_keeps_the_mean() -> None:
    attention = t5().decoder.block[0].layer[1].EncDecAttention
    attention.o = nn.Identity()
    seen = torch.randn(1, 1, 32).expand(4000, 1, 32)
    whole = attention.v(seen[:1]).unflatten(-1, (4, 8))  # (1, 1, heads, d)
    found = _only_key(attention, seen, 0.25).unflatten(-1, (4, 8))
    kept = (found != 0).all(dim=-1)
    assert torch.equal(kept, (found != 0).any(dim=-1))
    assert abs(kept.float().mean() - 0.75) < 0.02
    torch.testing.assert_close(found[kept], (whole / 0.75).expand_as(found)[kept])


def test_it_is_random_in_training_alone() -> None:
    model, states = t5(rate=0.3), torch.randn(5, 1, 32)
    assert not torch.equal(first_step(model, states), first_step(model, states))
    model.eval()
    assert torch.equal(first_step(model, states), first_step(model, states))
