"""The training loop: batches of the tasks in turn, validation, early stopping.

It returns and reports numbers, and prints nothing itself. How several processes share the work is
in modules/training/parallel.py.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from modules.loader.ahead import Ahead
from modules.loader.training_stream import TrainingStream, TrainStep, edges_ahead, task_of_step
from modules.model.dropout import set_dropout
from modules.model.elmrec import ELMRec
from modules.tasks import Task
from modules.training.events import EpochReport, FitResult, StepReport
from modules.training.loss_meter import LossWatch, MeanLosses, nonfinite, too_large
from modules.training.optimizer import make_optimizer, rate_of_step
from modules.training.parallel import WHOLE, full_state_dict, no_sync, parallel
from modules.training.settings import Settings
from modules.training.validation import Validation
from utils import distributed
from utils.errors import UserError
from utils.runtime import Machine, Stopped, is_out_of_memory, rng_state, set_rng_state


class Trainer:
    """Trains until an epoch limit, early stopping, or a limit of steps or seconds.

    A step holds one task, and the tasks take turns; an epoch is as many steps as all lists hold.
    ``state`` holds everything that the rest of the run depends on.
    """

    def __init__(
        self,
        model: ELMRec,
        streams: Mapping[Task, TrainingStream | Ahead],
        validation: Validation,
        settings: Settings,
        machine: Machine,
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> None:
        """stop_asked: asked after each step; when true, training ends there (utils/runtime.py)."""
        self._model, self._streams, self._validation = model, streams, validation
        self._settings, self._machine, self._stop_asked = settings, machine, stop_asked
        if settings.compile:
            model.compile_loss()
        self._net = parallel(model, settings.shard)
        self._optimizer = make_optimizer(model, settings.optimizer, settings.lr)
        rate = model.t5.config.dropout_rate
        texts = rate if settings.text_dropout is None else settings.text_dropout
        self._dropout = {task: texts if task is Task.EXPLANATION else rate for task in streams}
        self._losses = MeanLosses()
        self._watch = LossWatch(list(streams), machine.device, settings.skip_nonfinite)
        self._table_gradient: torch.Tensor | None = None  # of a frozen table, from a state
        self._table_edges: torch.Tensor | None = None  # own edges of its steps
        self.steps_per_epoch = sum(stream.steps_per_pass for stream in streams.values())
        longest = settings.epochs * self.steps_per_epoch
        self.total_steps = min(longest, settings.max_steps or longest)  # if nothing stops earlier
        self.step = self.epoch = self.nth = self.endured = 0  # epoch: finished; nth: steps since
        self.best = float("inf")

    def fit(
        self,
        on_step: Callable[[StepReport], None],
        on_epoch: Callable[[EpochReport], None],
        on_improvement: Callable[[EpochReport], None],
        on_state: Callable[[], None] = lambda: None,
    ) -> FitResult:
        """Train. The model is validated at the end of each epoch and of the run.

        Args:
            on_improvement: called when the model is the best so far.
            on_state: called when ``state`` should be saved: after each epoch, every
                ``save_minutes``, and where a run stops.
        """
        settings = self._settings
        self._started = self._saved = time.monotonic()
        while self.epoch < settings.epochs and self.endured < settings.endure_times:
            stop = self._train_epoch(on_step, on_state)
            if stop == INTERRUPTED:
                return self._result(stop)
            self._watch.check()
            if stop:  # before the validation that a longer run would not have here
                on_state()
            try:
                report = self._validate()
            except Stopped:
                on_state()  # once more at this place, it validates first
                return self._result(INTERRUPTED)
            if report.improved:
                on_improvement(report)
            on_epoch(report)
            if stop:
                return self._result(stop)
            self.epoch, self.nth = self.epoch + 1, 0
            on_state()
            self._saved = time.monotonic()
        if self.endured >= settings.endure_times:
            aim = self._validation.aim
            return self._result(f"validation {aim} did not improve {self.endured} times")
        return self._result(f"reached --epochs {settings.epochs}")

    def _train_epoch(
        self, on_step: Callable[[StepReport], None], on_state: Callable[[], None]
    ) -> str | None:
        """Steps to the end of the epoch, or until the run must stop: then why, else None."""
        settings, seconds = self._settings, 60 * (self._settings.max_minutes or math.inf)
        self._start_epoch()
        while self.nth < self.steps_per_epoch:
            if settings.max_steps is not None and self.step >= settings.max_steps:
                return f"stopped at --max_steps {settings.max_steps}"
            self._one_step(on_step)
            now = time.monotonic()
            asked, out_of_time, save = distributed.any_rank(
                self._stop_asked(),
                now - self._started >= seconds,
                now - self._saved >= 60 * settings.save_minutes,
            )
            if asked:
                self._watch.check()
                on_state()
                return INTERRUPTED
            if out_of_time:
                return f"stopped at --max_minutes {settings.max_minutes:g}"
            if save and self.nth < self.steps_per_epoch:
                self._watch.check()
                on_state()
                self._saved = now
        return None

    def _result(self, reason: str) -> FitResult:
        epoch, interrupted = self.epoch + bool(self.nth), reason == INTERRUPTED
        aim, skipped = self._validation.aim, self._watch.skipped
        return FitResult(self.step, epoch, self.best, aim, reason, skipped, interrupted)

    def _start_epoch(self) -> None:
        self._model.train()
        if self._table_gradient is not None:  # resumed between the steps of a frozen table
            self._model.freeze_table(self._table_edges, self._table_gradient)
            self._table_gradient = None

    def _one_step(self, on_step: Callable[[StepReport], None]) -> None:
        settings = self._settings
        task, every = task_of_step(self._streams, self.step), settings.graph_every
        if every > 1 and self.nth % every == 0:
            steps = min(every, self.steps_per_epoch - self.nth)
            self._table_edges = edges_ahead(self._streams, range(self.step, self.step + steps))
            self._model.freeze_table(self._table_edges)
        stream = self._streams[task]
        set_dropout(self._model.t5, self._dropout[task])
        loss = self._backward(next(stream))
        self.step, self.nth = self.step + 1, self.nth + 1
        rate = rate_of_step(self.step, self.total_steps, settings.warmup, settings.schedule)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.lr * rate
        if self._watch.finite(loss, self.step):
            self._losses.add(task, loss)
            if self.nth % every == 0 or self.nth == self.steps_per_epoch:
                self._release_table()
            self._optimizer.step()
        losses = None
        if self.step % settings.log_interval == 0:
            self._watch.check()
            losses = self._losses.take()
        lr = self._optimizer.param_groups[0]["lr"]
        on_step(StepReport(self.step, self.epoch + 1, task, stream.plan.samples, losses, lr))

    def _backward(self, step: TrainStep) -> torch.Tensor:
        """Gradients of the mean loss a target token over the whole step, all processes'; this
        process's part of the loss."""
        self._optimizer.zero_grad()
        total = torch.zeros((), device=self._machine.device)
        for nth, (batch, share) in enumerate(zip(step.batches, step.shares), start=1):
            no_sync(self._net, more_to_come=nth < len(step.batches))
            batch = batch.to(self._machine.device)
            try:
                with self._machine.autocast():
                    loss = self._net(batch) * share
                # Gradients are averaged over processes, and a loss is the sum of its shares.
                (loss * distributed.world_size()).backward()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise UserError(too_large(batch)) from error
            total += loss.detach()
        return total

    def _release_table(self) -> None:
        """A frozen table is no parameter: its gradient is averaged over processes here."""
        self._model.release_table()
        if self._settings.graph_every > 1 and self._model.nodes.weight.grad is not None:
            distributed.mean_over_ranks(self._model.nodes.weight.grad)

    def _validate(self) -> EpochReport:
        samples = next(iter(self._streams.values())).plan.samples
        found = self._validation(self.step * samples // len(self._streams), self._stop_asked)
        if not math.isfinite(found.mean):
            raise nonfinite(f"the validation loss after step {self.step}", found.mean)
        improved = found.value < self.best
        if improved:
            self.best = found.value
        else:
            self.endured += 1
        return EpochReport(self.step, self.epoch + 1, found, improved, self.endured)

    # ------------------------------------------------------------------------------ the state

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and plain values that training continues from; all ranks must ask together, and
        rank 0's tensors are complete."""
        weights = full_state_dict(self._model)
        # Of tied weights one name is enough.
        names = [name for name, _ in self._model.named_parameters() if name in weights]
        tensors = {f"model.{name}": weights[name] for name in names}
        if self._optimizer.state:  # else torch would fill it in by a step
            found = get_optimizer_state_dict(self._model, self._optimizer, options=WHOLE)
            for name, kept in found.get("state", {}).items():
                tensors |= {f"optimizer.{name}.{key}": x for key, x in kept.items()}
        tensors |= {f"losses.{name}": x for name, x in self._losses.state().items()}
        for rank, generator in enumerate(distributed.gather(rng_state(self._machine.device))):
            tensors[f"rng.{rank}"] = generator
        if self._model.frozen is not None:
            gradient = self._model.frozen.grad  # this rank's part; all of them average to it
            tensors["frozen"] = torch.zeros(0)
            if gradient is not None:
                tensors["frozen"] = distributed.mean_over_ranks(gradient.clone())
            if self._table_edges is not None:
                tensors["frozen_edges"] = self._table_edges
        streams = {}
        for task, stream in self._streams.items():
            order, streams[task.label] = stream.state()
            tensors[f"order.{task.label}"] = torch.from_numpy(order)
        values = {name: getattr(self, name) for name in _COUNTERS}
        values["skipped"] = self._watch.skipped
        values["best"] = self.best if math.isfinite(self.best) else None  # JSON has no infinity
        return tensors, values | {"samplers": streams, "processes": distributed.world_size()}

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Continue from a ``state``."""
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            parts.setdefault(kind, {})[rest] = tensor
        if unknown := parts.keys() - _KINDS:
            raise UserError(
                f"--resume: the state holds {', '.join(unknown)}, which this version does not "
                "know. Continue with the version that saved it."
            )
        whole = StateDictOptions(full_state_dict=True, strict=False)
        set_model_state_dict(self._model, parts["model"], options=whole)
        self._load_optimizer(parts.get("optimizer", {}), whole)
        device = self._machine.device
        self._losses.load_state({n: x.to(device) for n, x in parts.get("losses", {}).items()})
        set_rng_state(device, parts["rng"][str(distributed.rank())])
        if "frozen" in parts:
            self._table_gradient = parts["frozen"][""].to(device)
            self._table_edges = parts.get("frozen_edges", {}).get("")
        for task, stream in self._streams.items():
            order = parts["order"][task.label].numpy()
            stream.load_state(order, values["samplers"][task.label])
        for name in _COUNTERS:
            setattr(self, name, values[name])
        self._watch.skipped = values["skipped"]
        self.best = float("inf") if values["best"] is None else values["best"]

    def _load_optimizer(self, kept: dict[str, torch.Tensor], whole: StateDictOptions) -> None:
        """kept: tensors by ``<parameter>.<key>``; none where no step was made."""
        if not kept:
            return
        states: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in kept.items():
            parameter, _, key = name.rpartition(".")
            states.setdefault(parameter, {})[key] = tensor
        # The groups are as in this run; only what the steps have made of them is read.
        groups = get_optimizer_state_dict(self._model, self._optimizer)["param_groups"]
        table = {"state": states, "param_groups": groups}
        set_optimizer_state_dict(self._model, self._optimizer, table, options=whole)
        for name, parameter in self._model.named_parameters():
            if name not in states:  # no step has used it yet; torch has made one up
                self._optimizer.state.pop(parameter, None)


INTERRUPTED = "interrupted"  # asked to stop before any limit was reached
# Of tensors in a state.
_KINDS = {"model", "optimizer", "losses", "rng", "frozen", "frozen_edges", "order"}
_COUNTERS = ("step", "epoch", "nth", "endured")
