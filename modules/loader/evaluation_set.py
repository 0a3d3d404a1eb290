"""What batches are about in evaluation: fixed samples of one task, made by ``Prompts``."""

from collections.abc import Callable

import numpy as np

from modules.loader.batches import Batch, BatchSize, Samples, cut_by_length
from modules.tasks import Task


class EvaluationSet:
    """Fixed samples of one task, in batches of like length; the longest come first."""

    def __init__(
        self,
        task: Task,
        samples: Samples,
        lengths: np.ndarray,
        size: BatchSize,
        batch_of: Callable[[Samples], Batch],
        share_of: Callable[[Samples, Samples], float],
    ) -> None:
        """
        Args:
            samples: n of them.
            lengths: (n,) tokens of their prompts.
            size: where a batch ends.
            batch_of: makes a batch of some samples.
            share_of: what a part's mean loss counts for in the mean of the whole.
        """
        self.task, self.samples = task, samples
        self._batch_of, self._share_of = batch_of, share_of
        self._batches = cut_by_length(lengths, size)

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
        return rows, self._batch_of(self.samples.select(rows))

    def share(self, rows: np.ndarray) -> float:
        """What the mean loss of the rows counts for in the mean loss of the set."""
        return self._share_of(self.samples.select(rows), self.samples)
