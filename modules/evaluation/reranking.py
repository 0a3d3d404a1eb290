"""Ranked lists: the paper's reranking, and the rank of the target."""

from typing import NamedTuple

import numpy as np

from utils.metrics.ranking import NOT_RANKED


class Seconds(NamedTuple):
    """Where the time of an evaluation went."""

    load: float  # from the start of the program
    encode: float
    decode: float


class Ranked(NamedTuple):
    """Lists of n users, best first."""

    items: np.ndarray  # (n, k) int64; 0 behind a list, below 0 a place without an item
    scores: np.ndarray  # (n, k) float32, -inf where there is no item
    seconds: Seconds

    def cut(self, k: int) -> "Ranked":
        """The first ``k`` of each list."""
        return self._replace(items=self.items[:, :k], scores=self.scores[:, :k])


def rank_of(items: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(n, k) lists and (n,) targets -> (n,) 0-based ranks, NOT_RANKED where absent."""
    hit = items == targets[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1), NOT_RANKED)


def rerank(ranked: Ranked, had: list[np.ndarray], top_n: int) -> Ranked:
    """Drop the items that each user already had, keep the order, cut at ``top_n``.

    This is the paper's reranking (section 3.4): the model likes to repeat earlier items.

    Args:
        ranked: lists of top_n + N items, or fewer where the catalogue is smaller.
        had: n arrays of items.
        top_n: length of the lists at most.
    """
    top_n = min(top_n, ranked.items.shape[1])
    items = np.zeros((len(ranked.items), top_n), dtype=np.int64)
    scores = np.full((len(ranked.items), top_n), -np.inf, dtype=np.float32)
    for row, own in enumerate(had):
        line = ranked.items[row]
        keep = np.flatnonzero(~np.isin(line, own) & (line != 0))[:top_n]
        items[row, : len(keep)] = line[keep]
        scores[row, : len(keep)] = ranked.scores[row, keep]
    return Ranked(items, scores, ranked.seconds)
