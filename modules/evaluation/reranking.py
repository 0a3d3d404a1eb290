"""Ranked lists: the paper's reranking, and where the target stands."""

import numpy as np

from utils.metrics.ranking import NOT_RANKED


def rank_of(items: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(n, k) lists and (n,) targets -> (n,) 0-based ranks, NOT_RANKED where absent."""
    hit = items == targets[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1), NOT_RANKED)


def rerank(
    items: np.ndarray, scores: np.ndarray, had: list[np.ndarray], top_n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Drop the items that each user already had, keep the order, cut at ``top_n``.

    This is the paper's reranking (section 3.4): the model likes to repeat earlier items.

    Args:
        items, scores: (n, top_n + N), or less where the catalogue is smaller.
        had: n arrays of items.
        top_n: length of the lists at most.

    Returns:
        (n, top_n or less) items, 0 = none, and scores.
    """
    top_n = min(top_n, items.shape[1])
    out = np.zeros((len(items), top_n), dtype=np.int64)
    out_scores = np.full((len(items), top_n), -np.inf, dtype=np.float32)
    for row, own in enumerate(had):
        keep = np.flatnonzero(~np.isin(items[row], own) & (items[row] > 0))[:top_n]
        out[row, : len(keep)] = items[row, keep]
        out_scores[row, : len(keep)] = scores[row, keep]
    return out, out_scores
