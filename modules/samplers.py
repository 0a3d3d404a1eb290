"""What batches are about: training streams, negatives, and the fixed sets of evaluation.

Every draw takes its generator as an argument; the data set is never changed.
"""

from collections.abc import Iterator

import numpy as np

from modules.batches import Batch, Samples, make_batch, prompt_lengths
from modules.dataset import RecDataset
from modules.tasks import Task, WholeWords
from modules.tokens import PromptPieces, Ragged
from utils.errors import UserError

MAX_HISTORY = 20  # items of a sequential prompt; the target is the 21st


class NegativeSampler:
    """Draws items that a user never had, uniformly and without repeats."""

    def __init__(self, dataset: RecDataset, count: int) -> None:
        """count: negatives a user. Raises UserError where the catalogue is too small."""
        self.n_items = dataset.n_items
        self.count = count
        self._had = dataset.pair_keys()
        distinct = np.bincount(self._had // (self.n_items + 1), minlength=dataset.n_users + 1)
        free = self.n_items - int(distinct.max())
        if not 1 <= count <= free:
            raise UserError(
                f"--negative_num {count}: {dataset.folder} has {self.n_items} items, and user "
                f"{int(distinct.argmax())} had {int(distinct.max())} of them, so between 1 and "
                f"{free} negatives can be drawn."
            )
        # Drawing with rejection is fast while most draws are good; else permute all items.
        self._dense = 4 * (count + int(distinct.max())) > self.n_items

    def _is_had(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        keys = users[:, None] * (self.n_items + 1) + items
        at = np.searchsorted(self._had, keys)
        return self._had[np.minimum(at, len(self._had) - 1)] == keys

    def draw(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(B,) users -> (B, count) int64 negatives, in random order."""
        users = users.astype(np.int64)
        if self._dense:
            every = np.broadcast_to(np.arange(1, self.n_items + 1), (len(users), self.n_items))
            keys = rng.random(every.shape)
            keys[self._is_had(users, every)] = np.inf
            return np.argsort(keys, axis=1)[:, : self.count] + 1
        drawn = np.empty((len(users), self.count), dtype=np.int64)
        todo = np.arange(len(users))
        width = self.count + self.count // 4 + 16
        while len(todo):
            tries = rng.integers(1, self.n_items + 1, size=(len(todo), width))
            good = ~self._is_had(users[todo], tries) & _first_of_kind(tries)
            rank = np.cumsum(good, axis=1)
            full = rank[:, -1] >= self.count
            take = good & (rank <= self.count) & full[:, None]
            drawn[todo[full]] = tries[take].reshape(-1, self.count)
            todo = todo[~full]  # too many bad draws: these rows are drawn anew
        return drawn


def _first_of_kind(rows: np.ndarray) -> np.ndarray:
    """(B, n) -> (B, n) bool: is this the first time that the value stands in its row?"""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    new = np.ones_like(rows, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(new)
    np.put_along_axis(first, order, new, axis=1)
    return first


def shuffled_candidates(
    positives: np.ndarray, negatives: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(B,) and (B, n) -> (B, n + 1): the positive among the negatives, in random order."""
    rows = np.concatenate([positives[:, None], negatives], axis=1)
    return rng.permuted(rows, axis=1)


def _rows(matrix: np.ndarray) -> Ragged:
    """A matrix as ragged rows of one length."""
    n, width = matrix.shape
    return Ragged(matrix.reshape(-1).astype(np.int32), np.arange(n + 1, dtype=np.int64) * width)


def _stretches(dataset: RecDataset, starts: np.ndarray, lengths: np.ndarray) -> Ragged:
    """Stretches of the flat history array: (B,) starts and (B,) lengths -> B rows."""
    ends = np.concatenate([[0], np.cumsum(lengths)])
    index = np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])
    return Ragged(dataset.items[index], ends)


def sequential_histories(dataset: RecDataset, users: np.ndarray, held_out: int) -> Ragged:
    """The last ``MAX_HISTORY`` items before the target. held_out: 1 = test, 2 = validation."""
    ends = dataset.offsets[users] - held_out
    lengths = np.minimum(ends - dataset.offsets[users - 1], MAX_HISTORY)
    return _stretches(dataset, ends - lengths, lengths)


class TrainSampler:
    """An endless stream of training batches of one task.

    Its list (users, or explanation records) is walked in an order shuffled anew each pass; every
    draw comes from the one generator, so the seed alone decides what the stream gives.
    """

    def __init__(
        self,
        task: Task,
        dataset: RecDataset,
        pieces: PromptPieces,
        scheme: WholeWords,
        batch_size: int,
        rng: np.random.Generator,
        *,
        negatives: NegativeSampler | None = None,
        records: tuple[np.ndarray, np.ndarray, Ragged] | None = None,
    ) -> None:
        """records: users (n,), items (n,) and target tokens (n rows) of the explanation task;
        negatives: for the direct task."""
        self.task = task
        self._dataset, self._pieces, self._scheme = dataset, pieces, scheme
        self._negatives, self._records = negatives, records
        self.size = len(records[0]) if records is not None else dataset.n_users
        if batch_size > self.size:
            raise UserError(
                f"--batch_size {batch_size} is more than the {self.size} training samples of the "
                f"{task.label} task; at most {self.size} fit."
            )
        self.batch_size = batch_size
        self.rng = rng
        self._order = rng.permutation(self.size)
        self._at = 0

    @property
    def batches_per_pass(self) -> int:
        """Whole batches that the list holds."""
        return self.size // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._at + self.batch_size > self.size:
            self._order, self._at = self.rng.permutation(self.size), 0
        rows = self._order[self._at : self._at + self.batch_size]
        self._at += self.batch_size
        draw = {
            Task.EXPLANATION: self._explanation,
            Task.SEQUENTIAL: self._sequential,
            Task.DIRECT: self._direct,
        }[self.task]
        users, items, targets = draw(rows)
        templates = self.rng.integers(len(self._pieces.templates[self.task]), size=len(rows))
        samples = Samples(users, items, targets, templates)
        return make_batch(self.task, samples, self._pieces, self._scheme)

    def _explanation(self, rows: np.ndarray) -> tuple[np.ndarray, Ragged, Ragged]:
        users, items, targets = self._records
        return users[rows], _rows(items[rows][:, None]), targets.gather(rows)

    def _sequential(self, rows: np.ndarray) -> tuple[np.ndarray, Ragged, Ragged]:
        """First index uniform in [0, n-4], last uniform in [first+1, n-3]; the last 21 of it."""
        users = rows + 1
        starts, n = self._dataset.offsets[rows], self._dataset.lengths[rows]
        first = self.rng.integers(0, n - 3)
        last = self.rng.integers(first + 1, n - 2)
        first = np.maximum(first, last - MAX_HISTORY)
        items = _stretches(self._dataset, starts + first, last - first)
        targets = self._pieces.item_targets.gather(self._dataset.items[starts + last])
        return users, items, targets

    def _direct(self, rows: np.ndarray) -> tuple[np.ndarray, Ragged, Ragged]:
        """One positive of the train items, the negatives, shuffled together."""
        users = rows + 1
        starts, n = self._dataset.offsets[rows], self._dataset.lengths[rows]
        positives = self._dataset.items[starts + self.rng.integers(0, n - 2)]
        negatives = self._negatives.draw(users, self.rng)
        candidates = shuffled_candidates(positives, negatives, self.rng)
        return users, _rows(candidates), self._pieces.item_targets.gather(positives)


# ------------------------------------------------------------------------------- evaluation


def cut_by_length(
    lengths: np.ndarray, batch_size: int, batch_tokens: int | None
) -> list[np.ndarray]:
    """Batches of like length: rows of (n,) ``lengths``, longest first, so that memory shows at
    once. A batch ends at ``batch_size`` rows, at ``batch_tokens`` tokens, pads counted, or, once
    it is half full, where the length changes: a batch without pads needs no mask.
    """
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    batches, at = [], 0
    while at < len(order):
        fits = batch_tokens // int(ordered[at]) if batch_tokens else batch_size
        end = min(at + max(1, min(batch_size, fits)), len(order))
        half = (at + end + 1) // 2
        changes = np.flatnonzero(ordered[half:end] != ordered[half - 1])
        end = half + int(changes[0]) if changes.size else end
        batches.append(order[at:end])
        at = end
    return batches


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
    ) -> None:
        self.task = task
        self.users, self.items, self.targets = users, items, targets
        self._pieces, self._scheme = pieces, scheme
        lengths = prompt_lengths(task, self._samples(np.arange(len(users))), pieces)
        self._batches = cut_by_length(lengths, batch_size, batch_tokens)

    def _samples(self, rows: np.ndarray) -> Samples:
        short = np.zeros(len(rows), dtype=np.int64)
        return Samples(self.users[rows], self.items.gather(rows), self.targets.gather(rows), short)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yields (rows of this set, batch)."""
        for rows in self._batches:
            yield rows, make_batch(self.task, self._samples(rows), self._pieces, self._scheme)


def sequential_eval(
    dataset: RecDataset,
    users: np.ndarray,
    held_out: int,
    pieces: PromptPieces,
    scheme: WholeWords,
    batch_size: int,
    batch_tokens: int | None = None,
) -> EvalSet:
    """The sequential task on each user's test (held_out 1) or validation (2) item."""
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
    return EvalSet(Task.DIRECT, users, _rows(candidates), targets, *how)


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
    return EvalSet(Task.EXPLANATION, users, _rows(items[:, None]), targets, *how)
