"""The encoder's own attention and dropout, held against transformers and finite differences."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from modules.model.attention import biased_attention, closed_keys
from modules.model.dropout import (
    add_dropped,
    dropout,
    keep,
    keep_bits,
    relu_dropped,
    set_dropout,
    use_own_dropout,
)
from modules.model.encoder import encode


def _t5(act: str, rate: float = 0.0) -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=50,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=3,
        num_heads=4,
        feed_forward_proj=act,
        dropout_rate=rate,
        decoder_start_token_id=0,
    )
    return T5ForConditionalGeneration(config)


def _inputs(s: int = 23) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    embeds = torch.randn(5, s, 32, generator=generator)
    mask = (torch.arange(s) < torch.tensor([s, 3, s - 1, 9, 1])[:, None]).long()
    return embeds, mask


@pytest.mark.parametrize("act", ["relu", "gated-gelu"])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_states_and_gradients_equal_transformers(act: str, chunk: int, monkeypatch) -> None:
    monkeypatch.setattr("modules.model.attention._CHUNK", chunk)
    t5 = _t5(act).train()
    embeds, mask = _inputs()
    weight = torch.randn(5, 23, 32, generator=torch.Generator().manual_seed(2)) * mask[..., None]
    found = []
    for run in (
        lambda x: encode(t5, x, mask),
        lambda x: t5.encoder(inputs_embeds=x, attention_mask=mask).last_hidden_state,
    ):
        t5.zero_grad()
        x = embeds.clone().requires_grad_()
        states = run(x)
        (states * weight).sum().backward()
        named = t5.encoder.block.named_parameters()
        gradients = {name: parameter.grad.clone() for name, parameter in named}
        found.append((states * mask[..., None], x.grad, gradients))
    (ours, our_x, our_grads), (theirs, their_x, their_grads) = found
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(our_x, their_x, rtol=1e-3, atol=1e-4)
    for name, grad in their_grads.items():
        torch.testing.assert_close(our_grads[name], grad, rtol=1e-3, atol=1e-4, msg=name)


def test_bf16_stays_near_float32() -> None:
    t5 = _t5("relu").eval()
    embeds, mask = _inputs()
    with torch.no_grad():
        exact = encode(t5, embeds, mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = encode(t5, embeds, mask)
    inside = mask.bool()
    torch.testing.assert_close(rounded[inside].float(), exact[inside], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_attention_gradient_equals_finite_differences(rate: float) -> None:
    generator = torch.Generator().manual_seed(3)
    shape = (2, 2, 4, 3)
    q, k, v = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(3)
    )
    bias = torch.randn(1, 2, 4, 4, generator=generator, dtype=torch.float64).requires_grad_()
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])

    def attend(*inputs):
        torch.manual_seed(4)  # the same entries are dropped each time
        return biased_attention(*inputs, closed_keys(mask), rate)

    assert torch.autograd.gradcheck(attend, (q, k, v, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_scales_the_rest(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.full((400, 1001), 2.0, dtype=dtype, requires_grad=True)
    out = dropout(x, 0.1)
    out.sum().backward()
    dropped = out == 0
    # 400,400 draws of p = 0.1: the standard deviation of the share is 0.00047.
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.003)
    for rows in dropped.float().mean(dim=1), dropped.float().mean(dim=0):
        assert rows.std() < 0.025  # no row or column is favoured
    kept = torch.tensor(1 / 0.9).to(dtype)
    torch.testing.assert_close(out[~dropped], (2 * kept).expand_as(out[~dropped]))
    assert torch.equal(x.grad == 0, dropped)
    torch.testing.assert_close(x.grad[~dropped], kept.expand_as(x.grad[~dropped]))


def test_a_rate_that_is_set_is_as_one_made_with_it() -> None:
    made, changed = _t5("relu", 0.4).train(), _t5("relu", 0.0).train()
    set_dropout(changed, 0.4)
    embeds, mask = _inputs()
    labels = torch.randint(1, 50, (5, 4), generator=torch.Generator().manual_seed(3))
    found = []
    for t5 in (made, changed):
        torch.manual_seed(7)
        theirs = t5(inputs_embeds=embeds, attention_mask=mask, labels=labels).loss
        found.append((theirs, encode(t5, embeds, mask).sum()))
    assert found[0] == found[1]
    set_dropout(changed, 0.0)
    assert changed(inputs_embeds=embeds, attention_mask=mask, labels=labels).loss != found[0][0]


def test_dropout_follows_the_seed() -> None:
    x = torch.ones(37, 3)
    first, again, other = (torch.manual_seed(s) and dropout(x, 0.5) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert dropout(x, 0.0) is x


def test_keep_leaves_kept_entries_untouched() -> None:
    x = torch.randn(100)
    bits = keep_bits(x.shape, 0.5)
    assert torch.equal(keep(x, bits), torch.where(bits == 0, 0.0, x))
    assert set(bits.unique().tolist()) == {-1, 0}
    assert keep(x, None) is x


@pytest.mark.parametrize("causal_from", [None, 2])
def test_wanted_positions_have_the_states_and_gradients_of_the_whole(causal_from) -> None:
    t5, wanted = _t5("relu").train(), slice(4, 11)
    embeds, _ = _inputs()
    mask = torch.ones(embeds.shape[:2], dtype=torch.long)
    found = []
    for run in (
        lambda x: encode(t5, x, mask, causal_from, wanted),
        lambda x: encode(t5, x, mask, causal_from)[:, wanted],
    ):
        t5.zero_grad()
        x = embeds.clone().requires_grad_()
        states = run(x)
        states.square().sum().backward()
        named = t5.encoder.named_parameters()
        found.append((states, x.grad, {n: p.grad for n, p in named if p.grad is not None}))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_transformers_layers_drop_by_our_dropout(monkeypatch) -> None:
    t5 = _t5("relu", rate=0.25).train()
    use_own_dropout(t5)
    shapes = []

    def counted(x: torch.Tensor, p: float) -> torch.Tensor:
        assert p == 0.25
        shapes.append(tuple(x.shape))
        return x

    monkeypatch.setattr("modules.model.dropout.dropout", counted)
    ids = torch.arange(10).reshape(2, 5)
    t5(input_ids=ids, labels=ids)
    # Of each stack: embeddings, last states; and of a layer: attentions, the products of its end.
    assert len(shapes) == (2 + 3 * 3) + (2 + 3 * 4)
    shapes.clear()
    t5.eval()(input_ids=ids, labels=ids)
    assert not shapes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_dropped_in_one_pass_is_as_in_several(dtype) -> None:
    """Values and gradients of the fused forms, against those of relu, dropout and a sum."""
    found = []
    for fused in (True, False):
        generator = torch.manual_seed(0)
        x = torch.randn(40, 30, generator=generator).requires_grad_()
        h = torch.randn(40, 30, generator=generator).to(dtype).requires_grad_()
        torch.manual_seed(7)  # of what is dropped
        if fused:
            inner, scale = relu_dropped(h.clone(), 0.25)
            out = add_dropped(x, inner, 0.5, scale)
        else:
            first, second = (keep_bits(h.shape, rate) for rate in (0.25, 0.5))
            inner = h.relu() * -first / 0.75
            out = x + inner * -second / 0.5
        out.square().sum().backward()
        found.append((out.float(), x.grad, h.grad.float()))
    limit = (
        {"rtol": 2e-2, "atol": 2e-2} if dtype is torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
    )
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, **limit)
    assert (found[0][0] == found[0][1] / 2).float().mean() > 0.5  # where something was dropped
