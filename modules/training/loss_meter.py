"""The losses of the steps: their means, and what goes wrong with them.

NaN and infinite losses are noticed before they reach the weights, or at the next look.

On a CPU a loss is looked at before the optimizer's step. On a GPU a look is a wait, so that losses
are noted on the device and looked at where training waits anyway, and before anything is saved.
"""

from collections.abc import Mapping

import torch

from modules.loader.batches import Batch
from modules.tasks import Task
from utils import distributed
from utils.errors import UserError


class NonFiniteLoss(UserError):
    """A loss that is NaN or infinite; modules/training/resume.py adds the last good state."""


def nonfinite(what: str, value: float) -> NonFiniteLoss:
    """The error, with what can be done."""
    return NonFiniteLoss(
        f"{what} is {value}. Lower --lr, or --alpha and --sigma, or train with --precision fp32; "
        "--skip_nonfinite leaves such steps out and counts them."
    )


def too_large(batch: Batch) -> str:
    """What to say where the memory does not hold a batch."""
    b, s = batch.input_ids.shape
    return (
        f"out of memory in a step of the {batch.task.label} task: its batch has {b} prompts of "
        f"{s} tokens. Give --batch_tokens below {b * s:,} (the step stays the same, in smaller "
        "batches), or lower --batch_size or --negative_num."
    )


class LossWatch:
    """Looks at the losses of a run."""

    def __init__(self, tasks: list[Task], device: torch.device, skip: bool) -> None:
        """skip: leave out steps of no finite loss; this looks at each step also on a GPU."""
        self._tasks, self._skip = tasks, skip
        self._at_once = skip or device.type == "cpu"
        self._first_bad = torch.zeros((), dtype=torch.long, device=device)  # step, 0 = none
        self.skipped = 0

    def finite(self, loss: torch.Tensor, step: int) -> bool:
        """Should the step be taken? loss: this process's part; all ranks must ask together.

        Raises:
            NonFiniteLoss: where the loss is not finite, and such steps are not to be left out.
        """
        bad = ~torch.isfinite(loss)
        if not self._at_once:
            self._first_bad += (bad & (self._first_bad == 0)) * step
            return True
        if not distributed.any_rank(bool(bad))[0]:
            return True
        if not self._skip:
            self._stop(step, distributed.sum_over_ranks(loss.clone()).item())
        self.skipped += 1
        return False

    def check(self) -> None:
        """Look at what was noted so far; NonFiniteLoss where a loss was not finite."""
        if not self._at_once:
            noted = [first for first in distributed.gather(int(self._first_bad)) if first]
            if noted:  # one process's NaN is every process's a step later
                self._stop(min(noted), float("nan"))

    def _stop(self, step: int, value: float) -> None:
        task = self._tasks[(step - 1) % len(self._tasks)]
        raise nonfinite(f"step {step}: the loss of the {task.label} task", value)


class MeanLosses:
    """Sums of losses a task, kept on the device until somebody asks."""

    def __init__(self) -> None:
        self._sums: dict[Task, list[torch.Tensor]] = {}

    def add(self, task: Task, loss: torch.Tensor) -> None:
        """loss: this process's part of a step's loss."""
        self._sums.setdefault(task, []).append(loss)

    def state(self) -> dict[str, torch.Tensor]:
        """What has been added since the last ``take``, by task, each rank's part made the mean of
        all; all ranks must ask together."""
        parts = {task.label: torch.stack(losses) for task, losses in self._sums.items()}
        return {name: distributed.mean_over_ranks(part) for name, part in parts.items()}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from a ``state``."""
        self._sums = {Task[name.upper()]: list(losses) for name, losses in state.items()}

    def take(self) -> dict[Task, float]:
        """The means over steps of the whole losses; all ranks must ask together."""
        means = {}
        for task, losses in self._sums.items():
            total = distributed.sum_over_ranks(torch.stack(losses).sum())
            means[task] = total.item() / len(losses)
        self._sums.clear()
        return means
