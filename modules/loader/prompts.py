"""``Prompts``: how a model's prompts are made, as one value that training and evaluation share."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from modules.loader.batches import Batch, BatchSize, Samples, make_batch, prompt_lengths
from modules.loader.evaluation_set import EvaluationSet
from modules.loader.pieces import PromptPieces
from modules.loader.ragged import Ragged
from modules.tasks import Task, WholeWords


@dataclass(frozen=True)
class Prompts:
    """The pieces of a data set, and how a model reads them.

    Attributes:
        pieces: id words and templates, tokenised.
        schemes: the whole-word ids of each task.
        causal: sequential prompts are read from left to right.
    """

    pieces: PromptPieces
    schemes: dict[Task, WholeWords]
    causal: bool = False

    def reads_left_to_right(self, task: Task) -> bool:
        """Whether the task's targets are each predicted from the state of one token."""
        return self.causal and task is Task.SEQUENTIAL

    def lengths(self, task: Task, samples: Samples) -> np.ndarray:
        """(B,) tokens of each prompt, end mark included."""
        return prompt_lengths(task, samples, self.pieces)

    def batch(self, task: Task, samples: Samples, pad_to: int = 1) -> Batch:
        """A batch of one task. pad_to: prompt lengths are padded to a multiple of this."""
        causal = self.reads_left_to_right(task)
        return make_batch(task, samples, self.pieces, self.schemes[task], causal, pad_to)

    # --------------------------------------------------------------------- evaluation sets

    def sequential(
        self, users: np.ndarray, histories: Ragged, targets: np.ndarray, size: BatchSize
    ) -> EvaluationSet:
        """The sequential task: (n,) users, the items of their prompts, and their (n,) targets. With
        target 0 nothing is held out."""
        return self._items(Task.SEQUENTIAL, users, histories, targets, size)

    def direct(
        self, users: np.ndarray, candidates: np.ndarray, targets: np.ndarray, size: BatchSize
    ) -> EvaluationSet:
        """The direct task: (n,) users, their (n,) targets among (n, C) shuffled candidates."""
        return self._items(Task.DIRECT, users, Ragged.of_matrix(candidates), targets, size)

    def explanation(
        self, users: np.ndarray, items: np.ndarray, targets: Ragged, size: BatchSize
    ) -> EvaluationSet:
        """The explanation task: (n,) user-item pairs, and their texts as n rows of tokens."""
        samples = Samples(users, Ragged.of_matrix(items[:, None]), targets, _short(users))
        return self._set(Task.EXPLANATION, samples, size)

    def _items(
        self, task: Task, users: np.ndarray, items: Ragged, targets: np.ndarray, size: BatchSize
    ) -> EvaluationSet:
        tokens = self.pieces.item_targets.gather(targets)
        return self._set(task, Samples(users, items, tokens, _short(users), targets), size)

    def _set(self, task: Task, samples: Samples, size: BatchSize) -> EvaluationSet:
        lengths = self.lengths(task, samples)
        return EvaluationSet(task, samples, lengths, size, partial(self.batch, task))


def _short(users: np.ndarray) -> np.ndarray:
    """The short template for all rows: the only one in validation and at test time."""
    return np.zeros(len(users), dtype=np.int64)
