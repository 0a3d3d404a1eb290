"""Ranking metrics with one relevant item a user, as pure functions of 0-based ranks.

A rank of ``NOT_RANKED`` (-1) means that the target is not in the list; such a user counts 0.
"""

from collections.abc import Sequence

import numpy as np

NOT_RANKED = -1
CUTOFFS = (1, 5, 10)


def user_hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """(U,) ranks -> (U,) bool: is the target among the first k?"""
    if k < 1:
        raise ValueError(f"k is {k}; a cut-off is at least 1")
    ranks = np.asarray(ranks)
    if ranks.size == 0:
        raise ValueError("no ranks: there is no user to average over")
    return (ranks >= 0) & (ranks < k)


def user_ndcg(ranks: np.ndarray, k: int) -> np.ndarray:
    """(U,) ranks -> (U,) [r < k] / log2(r + 2), which is NDCG@k with one relevant item."""
    hits = user_hits(ranks, k)
    return np.where(hits, 1.0 / np.log2(np.where(hits, ranks, 0) + 2.0), 0.0)


def hit_rate(ranks: np.ndarray, k: int) -> float:
    """HR@k: share of users whose target is among the first k. ranks: (U,)."""
    return float(user_hits(ranks, k).mean())


def ndcg(ranks: np.ndarray, k: int) -> float:
    """NDCG@k: mean over users of ``user_ndcg``. ranks: (U,)."""
    return float(user_ndcg(ranks, k).mean())


def mrr(ranks: np.ndarray, k: int) -> float:
    """MRR@k: mean of [r < k] / (r + 1). ranks: (U,)."""
    hits = user_hits(ranks, k)
    return float(np.where(hits, 1.0 / (np.where(hits, ranks, 0) + 1.0), 0.0).mean())


def ranking_metrics(ranks: np.ndarray, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
    """The metrics of the paper's tables, by name: ``{"HR@1": ..., "NDCG@10": ...}``."""
    scores = {f"HR@{k}": hit_rate(ranks, k) for k in cutoffs}
    scores.update({f"NDCG@{k}": ndcg(ranks, k) for k in cutoffs})
    return scores
