"""What batches are about in evaluation: fixed samples of one task."""

import numpy as np

from modules.data.dataset import RecDataset
from modules.loader.batches import Batch, Samples, cut_by_length, make_batch, prompt_lengths
from modules.loader.pieces import PromptPieces, Ragged
from modules.loader.training_stream import sequential_histories
from modules.tasks import Task, WholeWords


class EvalSet:
    """Fixed samples of one task with the short template, in batches of like length.

    A batch ends at ``batch_size`` samples, or at ``batch_tokens`` prompt tokens, pads counted.
    """

    def __init__(
        self,
        task: Task,
        users: np.ndarray,
        items: Ragged,
        targets: Ragged,
        pieces: PromptPieces,
        scheme: WholeWords,
        batch_size: int,
        batch_tokens: int | None = None,
        causal: bool = False,
        target_items: np.ndarray | None = None,
    ) -> None:
        self.task, self._causal = task, causal
        self.users, self.items, self.targets = users, items, targets
        self._target_items = target_items
        self._pieces, self._scheme = pieces, scheme
        lengths = prompt_lengths(task, self._samples(np.arange(len(users))), pieces)
        self._batches = cut_by_length(lengths, batch_size, batch_tokens)

    def _samples(self, rows: np.ndarray) -> Samples:
        short = np.zeros(len(rows), dtype=np.int64)
        own = None if self._target_items is None else self._target_items[rows]
        items, targets = self.items.gather(rows), self.targets.gather(rows)
        return Samples(self.users[rows], items, targets, short, own)

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, n: int) -> tuple[np.ndarray, Batch]:
        """(rows of this set, batch) of the n-th batch; iterating gives all of them."""
        rows = self._batches[n]
        how = (self._pieces, self._scheme)
        return rows, make_batch(self.task, self._samples(rows), *how, causal=self._causal)


def sequential_eval(
    dataset: RecDataset,
    users: np.ndarray,
    held_out: int,
    pieces: PromptPieces,
    scheme: WholeWords,
    batch_size: int,
    batch_tokens: int | None = None,
    causal: bool = False,
    targets: np.ndarray | None = None,
) -> EvalSet:
    """The sequential task on each user's test (held_out 1) or validation (2) item; or on (n,) other
    ``targets``, told from the items before that one: so direct recommendation needs no candidates
    in its prompt."""
    if targets is None:
        targets = dataset.items[dataset.offsets[users] - held_out]
    return EvalSet(
        Task.SEQUENTIAL,
        users,
        sequential_histories(dataset, users, held_out),
        pieces.item_targets.gather(targets),
        pieces,
        scheme,
        batch_size,
        batch_tokens,
        causal,
        targets,
    )


def direct_eval(
    users: np.ndarray,
    positives: np.ndarray,
    candidates: np.ndarray,
    pieces: PromptPieces,
    scheme: WholeWords,
    batch_size: int,
    batch_tokens: int | None = None,
) -> EvalSet:
    """The direct task: (n,) users, their (n,) positives among (n, C) shuffled candidates."""
    targets = pieces.item_targets.gather(positives)
    how = (pieces, scheme, batch_size, batch_tokens)
    return EvalSet(
        Task.DIRECT, users, Ragged.of_matrix(candidates), targets, *how, target_items=positives
    )


def explanation_eval(
    users: np.ndarray,
    items: np.ndarray,
    targets: Ragged,
    pieces: PromptPieces,
    scheme: WholeWords,
    batch_size: int,
    batch_tokens: int | None = None,
) -> EvalSet:
    """The explanation task on (n,) user-item pairs."""
    how = (pieces, scheme, batch_size, batch_tokens)
    return EvalSet(Task.EXPLANATION, users, Ragged.of_matrix(items[:, None]), targets, *how)
