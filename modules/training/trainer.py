"""The training loop: batches of the tasks in turn, validation, early stopping.

It returns and reports numbers, and prints nothing itself. How several processes share the work is
in modules/training/parallel.py.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from modules.loader.batches import Batch
from modules.loader.evaluation_set import EvalSet
from modules.loader.training_stream import TrainSampler, TrainStep
from modules.model.elmrec import ELMRec
from modules.tasks import Task
from modules.training.events import EpochReport, FitResult, StepReport
from modules.training.loss_meter import LossWatch, MeanLosses, nonfinite
from modules.training.optimizer import make_optimizer, rate_of_step
from modules.training.parallel import no_sync, parallel
from modules.training.validation import validation_losses
from utils import distributed
from utils.errors import UserError
from utils.runtime import is_out_of_memory, rng_state, set_rng_state


class FitOptions(NamedTuple):
    """When to stop, and how a step is made."""

    epochs: int = 100
    optimizer: str = "adamw"
    lr: float = 1e-3
    warmup: int = 0  # steps in which the learning rate rises from 0
    schedule: str = "constant"  # or "linear": down to 0 over the second half of the run
    endure_times: int = 5  # validations without improvement, counted over the run
    max_steps: int | None = None
    max_seconds: float | None = None
    log_interval: int = 200  # steps between reports of the losses
    graph_every: int = 1  # steps that share a propagated table
    skip_nonfinite: bool = False  # leave out steps whose loss is NaN or infinite, and count them
    save_seconds: float | None = None  # between reports of the training state within an epoch
    shard: bool = False  # weights, gradients and optimizer state split over the processes
    compile: bool = False  # torch.compile
    autocast: Callable[[], AbstractContextManager] = nullcontext


class Trainer:
    """Trains until an epoch limit, early stopping, or a limit of steps or seconds.

    A step holds one task, and the tasks take turns; an epoch is as many steps as all lists hold.
    ``state`` holds everything that the rest of the run depends on.
    """

    def __init__(
        self,
        model: ELMRec,
        samplers: Mapping[Task, TrainSampler],
        validation: Mapping[Task, EvalSet],
        options: FitOptions,
        stop_asked: Callable[[], bool] = lambda: False,
        measure: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        """
        Args:
            stop_asked: asked after each step; when true, training ends there (see utils/runtime).
            measure: ranking metrics of the model as it is; the best model is then the one with the
                highest mean NDCG, in place of the lowest validation loss.
        """
        self._measure = measure
        self._model, self._samplers, self._validation = model, samplers, validation
        self._options, self._stop_asked = options, stop_asked
        if options.compile:
            model.compile_loss()
        self._net = parallel(model, options.shard)
        self._device = next(model.parameters()).device
        self._optimizer = make_optimizer(model, options.optimizer, options.lr)
        self._losses = MeanLosses()
        self._watch = LossWatch(list(samplers), self._device, options.skip_nonfinite)
        self._held: torch.Tensor | None = None  # gradient of a held table, from a state
        self.steps_per_epoch = sum(sampler.steps_per_pass for sampler in samplers.values())
        longest = options.epochs * self.steps_per_epoch
        self.total_steps = min(longest, options.max_steps or longest)  # where nothing stops earlier
        self.step = self.epoch = self.nth = self.endured = 0  # epoch: finished; nth: steps since
        self.best = float("inf")
        self.saves_state = not options.shard  # each process of a sharded run holds a part only

    def fit(
        self,
        on_step: Callable[[StepReport], None],
        on_epoch: Callable[[EpochReport], None],
        on_improvement: Callable[[EpochReport], None],
        on_state: Callable[[], None] = lambda: None,
    ) -> FitResult:
        """Train. The model is validated at the end of each epoch and of the run;
        ``on_improvement`` is called when the model is the best so far, and
        ``on_state`` when ``state`` should be saved: after each epoch, every ``save_seconds``, and
        where a run stops."""
        options = self._options
        started = saved = time.monotonic()
        while self.epoch < options.epochs and self.endured < options.endure_times:
            stop = None
            self._start_epoch()
            while self.nth < self.steps_per_epoch and not stop:
                if options.max_steps is not None and self.step >= options.max_steps:
                    stop = f"stopped at --max_steps {options.max_steps}"
                    break
                self._one_step(on_step)
                now = time.monotonic()
                asked, out_of_time, due = distributed.any_rank(
                    self._stop_asked(),
                    options.max_seconds is not None and now - started >= options.max_seconds,
                    options.save_seconds is not None and now - saved >= options.save_seconds,
                )
                if asked:
                    self._watch.check()
                    on_state()
                    return self._result("interrupted", interrupted=True)
                if out_of_time:
                    stop = f"stopped at --max_minutes {options.max_seconds / 60:g}"
                elif due and self.nth < self.steps_per_epoch:
                    self._watch.check()
                    on_state()
                    saved = now
            self._watch.check()
            if stop:  # before the validation that a longer run would not have here
                on_state()
            report = self._validate()
            if report.improved:
                on_improvement(report)
            on_epoch(report)
            if stop:
                return self._result(stop)
            self.epoch, self.nth = self.epoch + 1, 0
            on_state()
            saved = time.monotonic()
        if self.endured >= options.endure_times:
            what = "NDCG" if self._measure else "loss"
            return self._result(f"validation {what} did not improve {self.endured} times")
        return self._result(f"reached --epochs {options.epochs}")

    def _result(self, reason: str, interrupted: bool = False) -> FitResult:
        epoch = self.epoch + bool(self.nth)
        return FitResult(self.step, epoch, self.best, reason, self._watch.skipped, interrupted)

    def _start_epoch(self) -> None:
        self._model.train()
        if self._held is not None:  # resumed between the steps of a held table
            self._model.hold_table(self._held)
            self._held = None

    def _one_step(self, on_step: Callable[[StepReport], None]) -> None:
        options = self._options
        tasks, every = list(self._samplers), options.graph_every
        task = tasks[self.step % len(tasks)]
        if every > 1 and self.nth % every == 0:
            self._model.hold_table()
        sampler = self._samplers[task]
        loss = self._backward(next(sampler))
        self.step, self.nth = self.step + 1, self.nth + 1
        rate = rate_of_step(self.step, self.total_steps, options.warmup, options.schedule)
        for group in self._optimizer.param_groups:
            group["lr"] = options.lr * rate
        if self._watch.finite(loss, self.step):
            self._losses.add(task, loss)
            if self.nth % every == 0 or self.nth == self.steps_per_epoch:
                self._release_table()
            self._optimizer.step()
        due = self.step % options.log_interval == 0
        if due:
            self._watch.check()
        losses = self._losses.take() if due else None
        lr = self._optimizer.param_groups[0]["lr"]
        on_step(StepReport(self.step, self.epoch + 1, task, sampler.plan.samples, losses, lr))

    def _backward(self, step: TrainStep) -> torch.Tensor:
        """Gradients of the mean loss a target token over the whole step, all processes'; this
        process's part of the loss."""
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
                raise UserError(_too_large(batch)) from error
            total += loss.detach()
        return total

    def _release_table(self) -> None:
        """A held table is no parameter: its gradient is averaged over processes here."""
        self._model.release_table()
        if self._options.graph_every > 1 and self._model.nodes.weight.grad is not None:
            distributed.sum_over_ranks(self._model.nodes.weight.grad).div_(distributed.world_size())

    def _validate(self) -> EpochReport:
        self._model.eval()
        sets, cast = self._validation, self._options.autocast
        means = validation_losses(self._model, sets, self._device, cast)
        mean = sum(means.values()) / len(means)
        if not math.isfinite(mean):
            raise nonfinite(f"the validation loss after step {self.step}", mean)
        metrics, value = {}, mean
        if self._measure is not None:
            metrics = self._measure()
            gains = [figure for name, figure in metrics.items() if "NDCG" in name]
            value = -sum(gains) / len(gains)
        improved = value < self.best
        if improved:
            self.best = value
        else:
            self.endured += 1
        report = (self.step, self.epoch + 1, means, mean, improved, self.endured)
        return EpochReport(*report, metrics)

    # ------------------------------------------------------------------------------ the state

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and plain values that training goes on from; all ranks must ask together."""
        names = {parameter: name for name, parameter in self._model.named_parameters()}
        tensors = {f"model.{name}": p.detach() for p, name in names.items()}
        for parameter, kept in self._optimizer.state.items():
            tensors |= {f"optimizer.{names[parameter]}.{key}": x for key, x in kept.items()}
        tensors |= {f"losses.{name}": x for name, x in self._losses.state().items()}
        for rank, generator in enumerate(distributed.gather(rng_state(self._device))):
            tensors[f"rng.{rank}"] = generator
        if self._model.held is not None:
            gradient = self._model.held.grad
            tensors["held"] = torch.zeros(0) if gradient is None else gradient
        samplers = {}
        for task, sampler in self._samplers.items():
            order, samplers[task.label] = sampler.state()
            tensors[f"order.{task.label}"] = torch.from_numpy(order)
        values = {name: getattr(self, name) for name in _COUNTERS}
        values["skipped"] = self._watch.skipped
        values["best"] = self.best if math.isfinite(self.best) else None  # JSON has no infinity
        return tensors, values | {"samplers": samplers, "processes": distributed.world_size()}

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Go on from a ``state``."""
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            parts.setdefault(kind, {})[rest] = tensor
        parameters = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(parts["model"][name])
        place = {name: n for n, name in enumerate(parameters)}
        kept: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in parts.get("optimizer", {}).items():
            parameter, _, key = name.rpartition(".")
            kept.setdefault(place[parameter], {})[key] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": kept, "param_groups": groups})
        self._losses.load_state(
            {name: x.to(self._device) for name, x in parts.get("losses", {}).items()}
        )
        set_rng_state(self._device, parts["rng"][str(distributed.rank())])
        if "held" in parts:
            self._held = parts["held"][""].to(self._device)
        for task, sampler in self._samplers.items():
            order = parts["order"][task.label].numpy()
            sampler.load_state(order, values["samplers"][task.label])
        for name in _COUNTERS:
            setattr(self, name, values[name])
        self._watch.skipped = values["skipped"]
        self.best = float("inf") if values["best"] is None else values["best"]


_COUNTERS = ("step", "epoch", "nth", "endured")


def _too_large(batch: Batch) -> str:
    b, s = batch.input_ids.shape
    return (
        f"out of memory in a step of the {batch.task.label} task: its batch has {b} prompts of "
        f"{s} tokens. Give --batch_tokens below {b * s:,} (the step stays the same, in smaller "
        "batches), or lower --batch_size or --negative_num."
    )
