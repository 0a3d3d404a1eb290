"""The training loop: batches of the tasks in turn, validation, early stopping.

It returns and reports numbers, and prints nothing itself.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import nn

from modules.model import ELMRec
from modules.samplers import EvalSet, TrainSampler
from modules.tasks import Task


def make_optimizer(model: nn.Module, name: str, lr: float) -> torch.optim.Optimizer:
    """AdamW (the paper), or Adafactor (T5's own pre-training).

    T5's weights differ in scale by a factor of 30 and more: embeddings are drawn from N(0, 1),
    queries from N(0, 1 / (D d_k)). AdamW moves all of them by ``lr`` a step; Adafactor moves each
    matrix in proportion to its own root mean square, which random weights need.
    """
    if name == "adafactor":
        return torch.optim.Adafactor(model.parameters(), lr=lr)
    return torch.optim.AdamW(model.parameters(), lr=lr, fused=True)


class FitOptions(NamedTuple):
    """When to stop, and how a step is made."""

    epochs: int = 100
    optimizer: str = "adamw"
    lr: float = 1e-3
    endure_times: int = 5  # validations without improvement, counted over the run
    max_steps: int | None = None
    max_seconds: float | None = None
    log_interval: int = 200  # steps between reports of the losses
    graph_every: int = 1  # steps that share a propagated table
    autocast: Callable[[], AbstractContextManager] = nullcontext


class StepReport(NamedTuple):
    """One training step; ``losses`` is given every ``log_interval`` steps."""

    step: int
    epoch: int
    task: Task
    samples: int
    losses: dict[Task, float] | None  # mean a task since the last report


class EpochReport(NamedTuple):
    """One validation."""

    step: int
    epoch: int
    losses: dict[Task, float]
    mean: float
    improved: bool
    endured: int


class FitResult(NamedTuple):
    """How training ended."""

    steps: int
    epochs: int
    best_loss: float
    reason: str


def validation_losses(
    model: ELMRec, sets: Mapping[Task, EvalSet], autocast: Callable = nullcontext
) -> dict[Task, float]:
    """Mean loss a target token of each task, each batch weighted by its samples."""
    device = next(model.parameters()).device
    model.eval()
    losses = {}
    with torch.no_grad(), autocast():
        for task, samples in sets.items():
            total = torch.zeros((), device=device)
            for rows, batch in samples:
                total += model(batch.to(device)).float() * len(rows)
            losses[task] = total.item() / len(samples.users)
    return losses


class _MeanLosses:
    """Sums of losses a task, kept on the device until somebody asks."""

    def __init__(self) -> None:
        self._sums: dict[Task, list[torch.Tensor]] = {}

    def add(self, task: Task, loss: torch.Tensor) -> None:
        self._sums.setdefault(task, []).append(loss.detach())

    def take(self) -> dict[Task, float]:
        means = {task: torch.stack(losses).mean().item() for task, losses in self._sums.items()}
        self._sums.clear()
        return means


def fit(
    model: ELMRec,
    samplers: Mapping[Task, TrainSampler],
    validation: Mapping[Task, EvalSet],
    options: FitOptions,
    on_step: Callable[[StepReport], None],
    on_epoch: Callable[[EpochReport], None],
    on_improvement: Callable[[EpochReport], None],
) -> FitResult:
    """Train until an epoch limit, early stopping, or a limit of steps or seconds.

    Batches hold one task and go round the tasks; an epoch is as many batches as all lists hold.
    The model is validated at the end of each epoch and of the run; ``on_improvement`` is called
    when the mean validation loss is the lowest so far, to save it.
    """
    device = next(model.parameters()).device
    optimizer = make_optimizer(model, options.optimizer, options.lr)
    tasks = list(samplers)
    batches_per_epoch = sum(sampler.batches_per_pass for sampler in samplers.values())
    started, step, endured, best = time.monotonic(), 0, 0, float("inf")
    losses = _MeanLosses()

    def limit_reached() -> str | None:
        if options.max_steps is not None and step >= options.max_steps:
            return f"--max_steps {options.max_steps}"
        if options.max_seconds is not None and time.monotonic() - started >= options.max_seconds:
            return f"--max_minutes {options.max_seconds / 60:g}"
        return None

    for epoch in range(1, options.epochs + 1):
        model.train()
        stop = None
        for nth in range(1, batches_per_epoch + 1):
            task = tasks[step % len(tasks)]
            batch = next(samplers[task]).to(device)
            optimizer.zero_grad()
            if options.graph_every > 1 and nth % options.graph_every == 1:
                model.hold_table()
            with options.autocast():
                loss = model(batch)
            loss.backward()
            if nth % options.graph_every == 0 or nth == batches_per_epoch:
                model.release_table()
            optimizer.step()
            step += 1
            losses.add(task, loss)
            due = step % options.log_interval == 0
            on_step(StepReport(step, epoch, task, len(batch.users), losses.take() if due else None))
            if stop := limit_reached():
                break
        means = validation_losses(model, validation, options.autocast)
        mean = sum(means.values()) / len(means)
        improved = mean < best
        best, endured = (mean, endured) if improved else (best, endured + 1)
        report = EpochReport(step, epoch, means, mean, improved, endured)
        if improved:
            on_improvement(report)
        on_epoch(report)
        if stop:
            return FitResult(step, epoch, best, f"stopped at {stop}")
        if endured >= options.endure_times:
            return FitResult(step, epoch, best, f"validation loss did not improve {endured} times")
    return FitResult(step, options.epochs, best, f"reached --epochs {options.epochs}")
