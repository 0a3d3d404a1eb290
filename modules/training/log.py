"""What training reports as it runs: a progress bar, ``train_log.jsonl``, curves."""

import json
from pathlib import Path
from typing import Any

from modules.training.curves import Curves
from utils import distributed
from utils.console import progress, say
from utils.errors import UserError

LOG_FILE = "train_log.jsonl"


class TrainingLog:
    """The progress bar, ``train_log.jsonl``: a line each interval and each validation; and the
    same as curves."""

    def __init__(self, folder: Path, total: int | None, done: int, curves: Curves) -> None:
        """
        Args:
            folder: the run's.
            total: steps of the run.
            done: those made before it was resumed.
        """
        self._curves, self._file = curves, None
        if distributed.is_main():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / LOG_FILE).open("a", encoding="utf-8")
        self._bar = progress(total, "training", "step")
        self._bar.update(done)
        self._samples = 0

    def step(self, report: Any) -> None:
        """Take an ``events.StepReport``."""
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
        """Take an ``events.EpochReport``."""
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
        self._curves.write(line)

    def close(self, whole: bool) -> None:
        """End the bar, the file and the curves. whole: the training came to its end."""
        self._bar.close()
        if self._file is not None:
            self._file.close()
        self._curves.close(whole)
