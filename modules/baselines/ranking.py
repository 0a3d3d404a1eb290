"""Exact ranks and lists out of scores. Equal scores go by popularity, then by chance: never by
number, which would leak."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from modules.data.dataset import RecDataset
from modules.randomness import Stream, rng
from utils.metrics.ranking import NOT_RANKED

_USERS, _SCORES = 512, 1 << 25


def batches_of_users(n_users: int, n_items: int) -> Iterator[slice]:
    """Users whose scores of all items are made at once."""
    size = max(min(_USERS, _SCORES // n_items), 1)
    return (slice(start, start + size) for start in range(0, n_users, size))


class RankedExactly(NamedTuple):
    """Lists of n users, and the exact rank of their targets."""

    items: np.ndarray  # (n, k) best first, 0 behind the end of a short list
    scores: np.ndarray  # (n, k)
    ranks: np.ndarray  # (n,) exact 0-based rank of the target among all candidates

    def of(self, users: np.ndarray) -> "RankedExactly":
        """The rows of these users, where there is a row for each."""
        return RankedExactly(*(part[users - 1] for part in self))


def tie_places(dataset: RecDataset, seed: int) -> np.ndarray:
    """(I + 1,): of two items with equal scores, the one of the lower place comes first."""
    by_chance = rng(seed, Stream.TIES).random(dataset.n_items + 1)
    place = np.empty(len(by_chance), dtype=np.int64)
    place[np.lexsort((by_chance, -dataset.popularity))] = range(len(place))
    return place


def rank_rows(
    scores: np.ndarray, items: np.ndarray, place: np.ndarray, targets: np.ndarray, k: int
) -> RankedExactly:
    """Rank b rows of n candidates.

    Args:
        scores: (b, n), -inf for an item that must not be recommended.
        items: (b, n), or (1, n) for all rows.
        place: (I + 1,) of two items with equal scores, the one of the lower place comes first.
        targets: (b,) each among its row's items.
        k: length of the lists; 0 = ranks only, which is far faster.
    """
    b, n = scores.shape
    k = min(k, n)
    at = np.broadcast_to((items == targets[:, None]).argmax(axis=1), b)[:, None]
    own = np.take_along_axis(scores, at, axis=1)
    places = place[items]
    ahead = (scores > own) | ((scores == own) & (places < place[targets][:, None]))
    ranks = np.where(np.isfinite(own[:, 0]), ahead.sum(axis=1), NOT_RANKED)
    best = np.empty((b, k), dtype=np.int64)
    if k:
        least = np.partition(scores, n - k, axis=1)[:, n - k]
        places = np.broadcast_to(places, scores.shape)
        for row in range(b):
            good = np.flatnonzero(scores[row] >= least[row])
            best[row] = good[np.lexsort((places[row, good], -scores[row, good]))[:k]]
    listed = np.take_along_axis(scores, best, axis=1)
    chosen = np.take_along_axis(np.broadcast_to(items, scores.shape), best, axis=1)
    return RankedExactly(np.where(np.isfinite(listed), chosen, 0), listed, ranks)
