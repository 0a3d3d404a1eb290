"""What training reports as it runs: a progress bar, ``train_log.jsonl``, curves for TensorBoard.

The package tensorboard is optional, and imported only where ``--tensorboard`` asks for it.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils import distributed
from utils.console import progress, say
from utils.errors import UserError
from utils.files import check_writable

EVENTS = "tensorboard"  # the folder by default, in the run's


def event_folder(given: str | None, run: Path) -> str | None:
    """Where the event files go: ``--tensorboard``, "" = into the run's folder; None = none."""
    return None if given is None else given or str(run / EVENTS)


def _quiet_for_tensorboard(failure: threading.ExceptHookArgs) -> None:
    """Its writing thread hands a full disk on to ``Scalars``, which says so: no traceback too."""
    thread = type(failure.thread).__module__
    if not (thread.startswith("tensorboard") and isinstance(failure.exc_value, OSError)):
        threading.__excepthook__(failure)


class Scalars:
    """Event files of one run in one folder."""

    def __init__(self, folder: str, done: int) -> None:
        """Curves are a by-product: where they can no longer be written, that is said once, and
        training goes on without them.

        done: steps made before the run was resumed. What the folder holds of later steps, of
        this run or another, TensorBoard leaves out: these are made again."""
        from torch.utils.tensorboard import SummaryWriter

        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--tensorboard {folder}: no folder, and none can be made there "
                f"({error.strerror or error}). Name another."
            ) from error
        check_writable(folder)
        self._folder = folder
        threading.excepthook = _quiet_for_tensorboard
        self._writer: SummaryWriter | None = SummaryWriter(folder, purge_step=done + 1)

    def write(self, line: Mapping[str, Any]) -> None:
        """Take a line of ``train_log.jsonl``."""
        if self._writer is None:
            return
        values = {}
        for kind in ("train", "valid"):
            values |= {f"{kind}/{task}": loss for task, loss in line.get(kind, {}).items()}
        values |= {f"valid/{name}": value for name, value in line.get("metrics", {}).items()}
        for name in ("valid_mean", "learning_rate", "samples_per_second"):
            if name in line:
                values[name.replace("valid_", "valid/")] = line[name]
        with self._going_on():
            for name, value in values.items():
                self._writer.add_scalar(name, value, line["step"])
            self._writer.flush()  # a run that is killed loses no point of its curves

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            say(
                f"--tensorboard {self._folder}: cannot be written ({error.strerror or error}); "
                "going on without. train_log.jsonl has the same numbers"
            )

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            with self._going_on():
                self._writer.close()


LOG_FILE = "train_log.jsonl"


class TrainingLog:
    """The progress bar, ``train_log.jsonl``: a line each interval and each validation; and the
    same for TensorBoard."""

    def __init__(
        self, folder: Path, total: int | None, done: int = 0, events: str | None = None
    ) -> None:
        """
        Args:
            folder: the run's.
            total: steps of the run.
            done: those made before it was resumed.
            events: folder for TensorBoard; None = no event files.
        """
        self._file = self._scalars = None
        if distributed.is_main():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / LOG_FILE).open("a", encoding="utf-8")
            self._scalars = None if events is None else Scalars(events, done)
        self._bar = progress(total, "training", "step")
        self._bar.update(done)
        self._samples = 0

    def step(self, report: Any) -> None:
        """Take a ``fit_reports.StepReport``."""
        self._bar.update()
        self._samples += report.samples
        if report.losses is None:
            return
        losses = {task.label: round(loss, 5) for task, loss in report.losses.items()}
        rate = self._samples / max(self._bar.format_dict["elapsed"], 1e-9)
        shown = {name[:3]: f"{loss:.3f}" for name, loss in losses.items()}
        self._bar.set_postfix({**shown, "samples/s": f"{rate:.0f}"})
        self._write(
            {
                "step": report.step,
                "epoch": report.epoch,
                "train": losses,
                "learning_rate": report.lr,
                "samples_per_second": round(rate, 1),
            }
        )

    def epoch(self, report: Any) -> None:
        """Take a ``fit_reports.EpochReport``."""
        found = report.found
        losses = {task.label: round(loss, 5) for task, loss in found.losses.items()}
        line = {
            "step": report.step,
            "epoch": report.epoch,
            "valid": losses,
            "valid_mean": found.mean,
            "metrics": {name: round(value, 5) for name, value in found.metrics.items()},
            "improved": report.improved,
        }
        if found.sampled:
            line["valid_samples"] = found.sampled
        self._write(line)
        parts = ", ".join(f"{name} {x:.4f}" for name, x in {**losses, **found.metrics}.items())
        note = "best so far" if report.improved else f"no better, {report.endured} times in all"
        self._bar.clear()
        say(
            f"epoch {report.epoch}, step {report.step}: validation loss {found.mean:.4f} "
            f"({parts}); {note}"
        )
        if found.sampled:
            say(
                f"validated on {found.sampled:,} samples a task, evenly spread: all of them would "
                "take too long for what was trained so far; --valid_samples sets how many"
            )

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            try:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
            except OSError as error:
                raise UserError(
                    f"{self._file.name}: cannot be written ({error.strerror or error}). Free "
                    "space, and continue with --resume."
                ) from error
        if self._scalars is not None:
            self._scalars.write(line)

    def close(self) -> None:
        """End the bar and the files."""
        self._bar.close()
        if self._scalars is not None:
            self._scalars.close()
        if self._file is not None:
            self._file.close()
