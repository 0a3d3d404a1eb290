"""What batches are about in evaluation: fixed samples of one task, made by ``Prompts``."""

from typing import TYPE_CHECKING

import numpy as np

from modules.loader.batches import Batch, BatchSize, Samples, cut_by_length
from modules.tasks import Task

if TYPE_CHECKING:
    from modules.loader.prompts import Prompts


class EvaluationSet:
    """Fixed samples of one task, in batches of like length; the longest come first."""

    def __init__(self, prompts: "Prompts", task: Task, samples: Samples, size: BatchSize) -> None:
        self.task, self.samples, self._prompts = task, samples, prompts
        self._batches = cut_by_length(prompts.lengths(task, samples), size)

    @property
    def users(self) -> np.ndarray:
        """(n,) the users of the rows."""
        return self.samples.users

    def __len__(self) -> int:
        """Batches."""
        return len(self._batches)

    def __getitem__(self, n: int) -> tuple[np.ndarray, Batch]:
        """(rows of this set, batch) of the n-th batch; iterating gives all of them."""
        rows = self._batches[n]
        return rows, self._prompts.batch(self.task, self.samples.select(rows))
