"""Ranking metrics with one relevant item a user, as pure functions of 0-based ranks.

A rank of ``NOT_RANKED`` (-1) means that the target is not in the list; such a user counts 0. What
lies behind the end of a list that was cut is not known: ``known_cutoffs`` says how deep metrics go.
"""

from collections.abc import Callable, Sequence

import numpy as np

NOT_RANKED = -1
CUTOFFS = (1, 5, 10)  # of tables and tests
STEP = 5  # results go on with each multiple of this that the lists reach


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


def user_reciprocal(ranks: np.ndarray, k: int) -> np.ndarray:
    """(U,) ranks -> (U,) [r < k] / (r + 1)."""
    hits = user_hits(ranks, k)
    return np.where(hits, 1.0 / (np.where(hits, ranks, 0) + 1.0), 0.0)


def mrr(ranks: np.ndarray, k: int) -> float:
    """MRR@k: mean over users of ``user_reciprocal``. ranks: (U,)."""
    return float(user_reciprocal(ranks, k).mean())


# The metrics of results, tables and paired tests: a figure for each user, from (U,) ranks and k.
METRICS = {"HR": user_hits, "NDCG": user_ndcg}


def shown_metrics() -> dict[str, tuple[Callable[[np.ndarray, int], np.ndarray], int]]:
    """Columns of tables, and what makes each: a metric and its k. NDCG@1 is HR@1."""
    return {
        f"{name}@{k}": (of_users, k)
        for name, of_users in METRICS.items()
        for k in CUTOFFS
        if (name, k) != ("NDCG", 1)
    }


def known_cutoffs(depth: int, whole: bool) -> tuple[int, ...]:
    """The cut-offs k at which ranks in lists give metrics: 1, 5, 10, 15, ... up to ``depth``.

    Args:
        depth: length of the lists, of the longest where they differ; of a target behind their
            end nothing is known.
        whole: every list holds all that could be listed. A target that is in none of the places is
            then nowhere, so that 1, 5 and 10 are known whatever ``depth`` is.
    """
    deeper = range(CUTOFFS[-1] + STEP, depth + 1, STEP)
    return tuple(k for k in (*CUTOFFS, *deeper) if whole or k <= max(depth, 1))


def ranking_metrics(ranks: np.ndarray, cutoffs: Sequence[int]) -> dict[str, float]:
    """Every metric at every cut-off, by name: ``{"HR@1": ..., "NDCG@10": ...}``.

    cutoffs: where the ranks are of lists, none but ``known_cutoffs``.
    """
    return {
        f"{name}@{k}": float(of_users(ranks, k).mean())
        for name, of_users in METRICS.items()
        for k in cutoffs
    }
