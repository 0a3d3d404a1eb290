"""Figures of a ranking of the whole catalogue, as pure functions of exact ranks and top lists.

Metrics over sampled candidates can order methods otherwise than the whole catalogue does
(Krichene & Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020), hence these.
Ranks are 0-based, ``NOT_RANKED`` where an item cannot be recommended; lists hold items best
first, 0 behind the end of a short one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from utils.metrics.ranking import hit_rate, mrr, ndcg, ranking_metrics

FULL_CUTOFFS = (1, 5, 10, 20, 50, 100)
HISTORY_STEPS = (0, 5, 10, 20)  # a group a step: 0 to 4 items before the target, 5 to 9, ...
POPULARITY_STEPS = (0, 1, 5, 20, 100)  # users in train who had the target


class Group(NamedTuple):
    """The users of one step of a breakdown."""

    low: int
    high: int | None  # inclusive; None = no upper end
    users: int
    hr: float  # HR@10
    ndcg: float  # NDCG@10


def step_label(low: int, high: int | None) -> str:
    """A step as in tables: ``5-9``, ``0``, ``100+``."""
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}-{high}"


def full_metrics(ranks: np.ndarray, cutoffs: Sequence[int] = FULL_CUTOFFS) -> dict[str, float]:
    """HR, NDCG and MRR at each cut-off, by name. ranks: (U,) exact, not cut at a list's end."""
    scores = ranking_metrics(ranks, cutoffs)
    scores.update({f"MRR@{k}": mrr(ranks, k) for k in cutoffs})
    return scores


def times_listed(lists: np.ndarray, n_items: int) -> np.ndarray:
    """(U, k) lists -> (I,) how many lists hold each item; [i - 1] is item i's."""
    return np.bincount(np.asarray(lists).ravel(), minlength=n_items + 1)[1:]


def coverage(lists: np.ndarray, n_items: int) -> float:
    """Share of the catalogue that is in at least one list."""
    return float((times_listed(lists, n_items) > 0).mean())


def gini(lists: np.ndarray, n_items: int) -> float:
    """Gini coefficient of how often each item is listed: 0 = all alike, near 1 = always the same.

    With counts x ascending: sum_i (2i - I - 1) x_i / (I sum_i x_i), i = 1..I, unlisted items
    among them (Damgaard & Weiner 2000, without the factor I / (I - 1) for small samples).
    """
    counts = np.sort(times_listed(lists, n_items)).astype(float)
    if counts.sum() == 0:
        raise ValueError("all lists are empty: nothing is spread over the catalogue")
    steps = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((steps * counts).sum() / (n_items * counts.sum()))


def mean_popularity_rank(lists: np.ndarray, popularity: np.ndarray) -> float:
    """Mean place of the listed items in the order of popularity: 1 = the most popular.

    A method that recommends regardless of popularity is near (I + 1) / 2.

    Args:
        lists: (U, k).
        popularity: (I,) users in train a item; equal ones share the mean of their places.
    """
    places = rankdata(-np.asarray(popularity), method="average")
    counts = times_listed(lists, len(places))
    if counts.sum() == 0:
        raise ValueError("all lists are empty: no item's popularity can be averaged")
    return float((counts * places).sum() / counts.sum())


def breakdown(ranks: np.ndarray, values: np.ndarray, steps: Sequence[int]) -> list[Group]:
    """HR@10 and NDCG@10 of the users in each step of a value; steps without users are left out.

    Args:
        ranks: (U,).
        values: (U,) whole numbers, none below the first step.
        steps: lower ends, ascending; the last step has no upper end.
    """
    if len(values) != len(ranks) or values.min() < steps[0]:
        raise ValueError(f"one value from {steps[0]} up is needed for each of {len(ranks)} ranks")
    step_of = np.searchsorted(steps, values, side="right") - 1
    groups = []
    for step, low in enumerate(steps):
        mine = ranks[step_of == step]
        high = steps[step + 1] - 1 if step + 1 < len(steps) else None
        if len(mine):
            groups.append(Group(low, high, len(mine), hit_rate(mine, 10), ndcg(mine, 10)))
    return groups


def _spread(lists: np.ndarray, popularity: np.ndarray) -> dict[str, float]:
    k = lists.shape[1]
    return {
        f"coverage@{k}": coverage(lists, len(popularity)),
        f"Gini@{k}": gini(lists, len(popularity)),
        f"mean popularity rank@{k}": mean_popularity_rank(lists, popularity),
    }


def catalogue_figures(
    ranks: np.ndarray,
    lists: np.ndarray,
    popularity: np.ndarray,
    history_lengths: np.ndarray,
    targets: np.ndarray,
) -> dict[str, Any]:
    """All of the above, as it is under "catalogue" in ``<task>.json``.

    Args:
        ranks: (U,) exact ranks of the targets in the whole catalogue.
        lists: (U, k) top lists.
        popularity: (I,) users in train a item.
        history_lengths: (U,) items before the target.
        targets: (U,) items.
    """
    spread = _spread(lists, popularity) if (lists > 0).any() else {}  # of nothing there is none
    by_history = breakdown(ranks, history_lengths, HISTORY_STEPS)
    by_popularity = breakdown(ranks, popularity[targets - 1], POPULARITY_STEPS)
    return {
        "metrics": full_metrics(ranks),
        **spread,
        "by_history_length": [group._asdict() for group in by_history],
        "by_item_popularity": [group._asdict() for group in by_popularity],
    }
