"""What the model does on GPUs, run on the CPU: the same numbers as by the kernels for CPUs."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import rms_norm

from modules.model.dropout import set_dropout
from modules.model.elmrec import ELMRec
from modules.model.norm import RMSNorm
from modules.tasks import Task
from tests.model.test_elmrec import batch_of


def never(x: torch.Tensor) -> bool:
    return False


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Every place that asks for the kernels of CPUs is told no."""

    def switch() -> None:
        for name in ("attention", "dropout", "elmrec", "encoder", "norm"):
            monkeypatch.setattr(f"modules.model.{name}.own_kernels", never)

    return switch


def loss_and_gradients(model: ELMRec, batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(batch)
    loss.backward()
    named = model.named_parameters()
    return loss.detach(), {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.parametrize("task", list(Task))
def test_loss_and_gradients_are_those_of_cpus(task, model, pieces, as_on_a_gpu) -> None:
    batch = batch_of(task, pieces)
    set_dropout(model.train().t5, 0.0)
    expected = loss_and_gradients(model, batch)
    as_on_a_gpu()
    found = loss_and_gradients(model, batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_prompts_are_padded_to_tiles(model, pieces, as_on_a_gpu) -> None:
    batch = batch_of(Task.SEQUENTIAL, pieces)
    plain, _ = model.encode(batch)
    as_on_a_gpu()
    states, mask = model.encode(batch)
    s = plain.shape[1]
    assert s % 8, "a length that needs no pads shows nothing"
    assert states.shape[1] == mask.shape[1] == -(-s // 8) * 8
    assert not mask[:, s:].any()
    torch.testing.assert_close(states[:, :s], plain, rtol=1e-4, atol=1e-5)


def test_no_pads_where_the_decoder_would_see_them(model, pieces, as_on_a_gpu) -> None:
    batch = batch_of(Task.SEQUENTIAL, pieces)
    model.config = replace(model.config, decoder_sees_pads=True)
    plain, seen = model.encode(batch)
    as_on_a_gpu()
    states, mask = model.encode(batch)
    torch.testing.assert_close(states, plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(mask, seen)


def test_norm_is_transformers(as_on_a_gpu, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr("modules.model.norm.rms_norm", lambda *a: calls.append(1) or rms_norm(*a))
    norm = RMSNorm(24, 1e-3)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(5, 7, 24, requires_grad=True)
    found = []
    for switch in (lambda: None, as_on_a_gpu):
        switch()
        out = norm(x)
        found.append((out, *torch.autograd.grad(out.square().sum(), (x, norm.weight))))
    assert calls == [1]
    torch.testing.assert_close(found[1], found[0])
