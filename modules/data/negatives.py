"""Negatives: items that a user never had, drawn uniformly, and candidates made of them.

Every draw takes its generator as an argument; the data set is never changed.
"""

import numpy as np

from modules.data.dataset import RecDataset
from utils.errors import UserError, limit

PUBLISHED_COUNT = 99  # negatives a user in the published sets


def default_count(dataset: RecDataset) -> int:
    """Negatives a user where nobody says how many: as negative.txt holds; else 99 as published, or
    as many as every user has left, at least 1."""
    if dataset.negatives is not None:
        return dataset.negatives.shape[1]
    had = np.bincount(dataset.pairs_of(dataset.pair_keys())[0])
    return max(min(PUBLISHED_COUNT, dataset.n_items - int(had.max())), 1)


class NegativeSampler:
    """Draws items that a user never had, uniformly and without repeats."""

    def __init__(self, dataset: RecDataset, count: int) -> None:
        """count: negatives a user. Raises UserError where the catalogue is too small."""
        self._dataset, self.n_items, self.count = dataset, dataset.n_items, count
        self._had = dataset.pair_keys()
        distinct = np.bincount(dataset.pairs_of(self._had)[0], minlength=dataset.n_users + 1)
        free = self.n_items - int(distinct.max())
        if not 1 <= count <= free:
            raise UserError(_too_many(dataset, count, distinct))
        # Drawing with rejection is fast while most draws are good; else permute all items.
        self._dense = 4 * (count + int(distinct.max())) > self.n_items

    def _is_had(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        keys = self._dataset.pair_key(users[:, None], items)
        if not keys.size:
            return np.zeros(keys.shape, dtype=bool)
        start, end = np.searchsorted(self._had, [keys.min(), keys.max() + 1])
        start = min(start, len(self._had) - 1)
        had = self._had[start : max(end, start + 1)]  # a short stretch, for users side by side
        at = np.searchsorted(had, keys)
        return had[np.minimum(at, len(had) - 1)] == keys

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


def _too_many(dataset: RecDataset, count: int, distinct: np.ndarray) -> str:
    """Why ``count`` negatives cannot be drawn. distinct: (U + 1,) items that each user had."""
    most = int(distinct.argmax())
    left = dataset.n_items - distinct[1:]  # (U,)
    free, free_of_most_users = int(left.min()), int(np.sort(left)[(len(left) - 1) // 4])
    said = (
        f"--negative_num {count}: the data have {dataset.n_items:,} items, and user "
        f"{limit(dataset.user_names[most])} had {int(distinct[most]):,} of them"
    )
    if free:
        return f"{said}, so between 1 and {free} negatives can be drawn. Give a number in between."
    smaller = ""
    if 0 < free_of_most_users < count:
        smaller = (
            f"Give --negative_num {free_of_most_users} or less, which most users have left, and "
            "leave the others out of the data"
        )
    return (
        f"{said}, so no negative is left to draw (users without an item left: "
        f"{int((left == 0).sum()):,}). {smaller or 'Leave such users out of the data'}, or keep "
        "more items, if filters of prepare.py took some."
    )


def _first_of_kind(rows: np.ndarray) -> np.ndarray:
    """(B, n) -> (B, n) bool: is this the first time that the value is in its row?"""
    width = rows.shape[1]
    # Value and place as one number: to sort them is several times as fast as to sort places.
    ordered = np.sort(rows.astype(np.int64) * width + np.arange(width), axis=1)
    value, place = np.divmod(ordered, max(width, 1))
    new = np.ones(rows.shape, dtype=bool)
    new[:, 1:] = value[:, 1:] != value[:, :-1]
    first = np.empty_like(new)
    np.put_along_axis(first, place, new, axis=1)
    return first


def each_once(rows: np.ndarray) -> np.ndarray:
    """(B, n) items -> the same, with 0 (no item) where an item was in its row before."""
    return np.where(_first_of_kind(rows), rows, 0)


def shuffled_candidates(
    positives: np.ndarray, negatives: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(B,) and (B, n) -> (B, n + 1): the positive among the negatives, in random order."""
    rows = np.concatenate([positives[:, None], negatives], axis=1)
    return rng.permuted(rows, axis=1)
