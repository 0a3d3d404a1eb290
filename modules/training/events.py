"""What training reports: a step, a validation, its end."""

from typing import NamedTuple

from modules.tasks import Task
from modules.training.validation import Validated


class StepReport(NamedTuple):
    """One training step; ``losses`` is given every ``log_interval`` steps."""

    step: int
    epoch: int
    task: Task
    samples: int
    losses: dict[Task, float] | None  # mean a task since the last report
    lr: float


class EpochReport(NamedTuple):
    """One validation."""

    step: int
    epoch: int
    found: Validated
    improved: bool
    endured: int


class FitResult(NamedTuple):
    """How training ended."""

    steps: int
    epochs: int
    best: float  # the least ``Validated.value``
    aim: str  # what that is
    reason: str
    skipped: int  # steps left out because their loss was not finite
    interrupted: bool = False  # asked to stop before any limit was reached

    def __str__(self) -> str:
        """One line for the log."""
        skipped = f" ({self.skipped} left out, their loss not finite)" if self.skipped else ""
        best = -self.best if self.aim == "NDCG@10" else self.best
        done = f"{self.reason} after {self.steps} steps{skipped}"
        return f"{done}; best validation {self.aim} {best:.4f}"
