"""The training loop: batches of the tasks in turn, validation, early stopping.

It returns and reports numbers, and prints nothing itself. How several processes share the work is
in modules/parallel.py.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import nn

from modules.batches import Batch
from modules.model import ELMRec
from modules.parallel import no_sync, parallel
from modules.samplers import EvalSet, TrainSampler, TrainStep
from modules.tasks import Task
from utils import distributed
from utils.errors import UserError
from utils.runtime import is_out_of_memory


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
    shard: bool = False  # weights, gradients and optimizer state split over the processes
    compile: bool = False  # torch.compile
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
    model: Callable[[Batch], torch.Tensor],
    sets: Mapping[Task, EvalSet],
    device: torch.device,
    autocast: Callable = nullcontext,
) -> dict[Task, float]:
    """Mean loss a target token of each task.

    The batches are shared out over the processes, and summed in one order: any number of
    processes gives the same figure to the bit.
    """
    losses = {}
    with torch.no_grad(), autocast():
        for task, samples in sets.items():
            sums = torch.zeros(len(samples), dtype=torch.float64, device=device)
            total = len(samples.targets.flat)
            for n in distributed.own_part(len(samples), even=True):
                rows, batch = samples[n % len(samples)]
                share = len(samples.targets.gather(rows).flat) / total
                loss = model(batch.to(device)).double() * share
                if n < len(samples):
                    sums[n] = loss
            losses[task] = distributed.sum_over_ranks(sums).sum().item()
    return losses


class _MeanLosses:
    """Sums of losses a task, kept on the device until somebody asks."""

    def __init__(self) -> None:
        self._sums: dict[Task, list[torch.Tensor]] = {}

    def add(self, task: Task, loss: torch.Tensor) -> None:
        """loss: this process's part of a step's loss."""
        self._sums.setdefault(task, []).append(loss)

    def take(self) -> dict[Task, float]:
        """The means over steps of the whole losses; all ranks must ask together."""
        means = {}
        for task, losses in self._sums.items():
            total = distributed.sum_over_ranks(torch.stack(losses).sum())
            means[task] = total.item() / len(losses)
        self._sums.clear()
        return means


class Trainer:
    """Trains until an epoch limit, early stopping, or a limit of steps or seconds.

    A step holds one task, and the tasks take turns; an epoch is as many steps as all lists hold.
    """

    def __init__(
        self,
        model: ELMRec,
        samplers: Mapping[Task, TrainSampler],
        validation: Mapping[Task, EvalSet],
        options: FitOptions,
    ) -> None:
        self._model, self._samplers, self._validation = model, samplers, validation
        self._options = options
        if options.compile:
            model.compile_loss()
        self._net = parallel(model, options.shard)
        self._device = next(model.parameters()).device
        self._optimizer = make_optimizer(model, options.optimizer, options.lr)
        self._losses = _MeanLosses()
        self.steps_per_epoch = sum(sampler.steps_per_pass for sampler in samplers.values())
        self.step = self.epoch = self.endured = 0
        self.best = float("inf")

    def fit(
        self,
        on_step: Callable[[StepReport], None],
        on_epoch: Callable[[EpochReport], None],
        on_improvement: Callable[[EpochReport], None],
    ) -> FitResult:
        """Train. The model is validated at the end of each epoch and of the run;
        ``on_improvement`` is called when the mean validation loss is the lowest so far."""
        options, started = self._options, time.monotonic()

        def limit_reached() -> str | None:
            if options.max_steps is not None and self.step >= options.max_steps:
                return f"--max_steps {options.max_steps}"
            if options.max_seconds is not None and distributed.any_rank(
                time.monotonic() - started >= options.max_seconds
            ):
                return f"--max_minutes {options.max_seconds / 60:g}"
            return None

        while self.epoch < options.epochs:
            self.epoch += 1
            stop = self._train_epoch(on_step, limit_reached)
            report = self._validate()
            if report.improved:
                on_improvement(report)
            on_epoch(report)
            if stop:
                return self._result(f"stopped at {stop}")
            if self.endured >= options.endure_times:
                return self._result(f"validation loss did not improve {self.endured} times")
        return self._result(f"reached --epochs {options.epochs}")

    def _result(self, reason: str) -> FitResult:
        return FitResult(self.step, self.epoch, self.best, reason)

    def _train_epoch(
        self, on_step: Callable[[StepReport], None], limit_reached: Callable[[], str | None]
    ) -> str | None:
        """The steps of an epoch; the limit that ended it early, if one did."""
        tasks, every = list(self._samplers), self._options.graph_every
        self._model.train()
        for nth in range(1, self.steps_per_epoch + 1):
            if every > 1 and nth % every == 1:
                self._model.hold_table()
            task = tasks[self.step % len(tasks)]
            step = next(self._samplers[task])
            self._backward(step)
            if nth % every == 0 or nth == self.steps_per_epoch:
                self._release_table()
            self._optimizer.step()
            self.step += 1
            due = self.step % self._options.log_interval == 0
            losses = self._losses.take() if due else None
            samples = self._samplers[task].plan.samples
            on_step(StepReport(self.step, self.epoch, task, samples, losses))
            if stop := limit_reached():
                return stop
        return None

    def _backward(self, step: TrainStep) -> None:
        """Gradients of the mean loss a target token over the whole step, all processes'."""
        self._optimizer.zero_grad()
        total = torch.zeros((), device=self._device)
        for nth, (batch, share) in enumerate(zip(step.batches, step.shares), start=1):
            no_sync(self._net, more_to_come=nth < len(step.batches))
            batch = batch.to(self._device)
            try:
                with self._options.autocast():
                    loss = self._net(batch) * share
                # Gradients are averaged over processes, and a loss is the sum of its shares.
                (loss * distributed.world_size()).backward()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise UserError(self._too_large(batch)) from error
            total += loss.detach()
        self._losses.add(batch.task, total)

    def _release_table(self) -> None:
        """A held table is no parameter: its gradient is averaged over processes here."""
        self._model.release_table()
        if self._options.graph_every > 1 and self._model.nodes.weight.grad is not None:
            distributed.sum_over_ranks(self._model.nodes.weight.grad).div_(distributed.world_size())

    def _too_large(self, batch: Batch) -> str:
        b, s = batch.input_ids.shape
        return (
            f"out of memory in a step of the {batch.task.label} task: its batch has {b} prompts of "
            f"{s} tokens. Give --batch_tokens below {b * s:,} (the step stays the same, in smaller "
            "batches), or lower --batch_size or --negative_num."
        )

    def _validate(self) -> EpochReport:
        self._model.eval()
        sets, cast = self._validation, self._options.autocast
        means = validation_losses(self._model, sets, self._device, cast)
        mean = sum(means.values()) / len(means)
        improved = mean < self.best
        self.best, self.endured = (
            (mean, self.endured) if improved else (self.best, self.endured + 1)
        )
        return EpochReport(self.step, self.epoch, means, mean, improved, self.endured)
