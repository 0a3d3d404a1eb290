"""Figures of the whole catalogue against numbers worked out by hand."""

import numpy as np
import pytest

from utils.metrics.catalogue import (
    breakdown,
    catalogue_figures,
    coverage,
    full_metrics,
    gini,
    mean_popularity_rank,
)
from utils.metrics.ranking import NOT_RANKED

LISTS = np.array([[1, 2], [1, 3], [1, 0]])  # 1 three times, 2 and 3 once, 4 and 5 never


def test_full_metrics_by_hand():
    found = full_metrics(np.array([0, 49, 99, NOT_RANKED]))
    assert found["HR@20"] == 1 / 4
    assert found["HR@50"] == 2 / 4
    assert found["HR@100"] == 3 / 4
    assert found["MRR@100"] == pytest.approx((1 + 1 / 50 + 1 / 100) / 4)
    assert found["NDCG@50"] == pytest.approx((1 + 1 / np.log2(51)) / 4)
    assert len(found) == 18


def test_coverage_by_hand():
    assert coverage(LISTS, 5) == 3 / 5


def test_gini_by_hand():
    # Ascending counts 0 0 1 1 3: (-4*0 - 2*0 + 0*1 + 2*1 + 4*3) / (5 * 5)
    assert gini(LISTS, 5) == pytest.approx(14 / 25)
    assert gini(np.array([[1, 2], [3, 4]]), 4) == 0
    with pytest.raises(ValueError, match="all lists are empty"):
        gini(np.zeros((2, 3), dtype=int), 4)


def test_gini_is_the_mean_difference_over_twice_the_mean():
    lists = np.random.default_rng(0).integers(1, 20, (40, 5))
    counts = np.bincount(lists.ravel(), minlength=20)[1:]
    differences = np.abs(counts[:, None] - counts[None]).mean()
    assert gini(lists, 19) == pytest.approx(differences / (2 * counts.mean()))


def test_popularity_rank_by_hand():
    # Places: item 2 first, 1 and 3 share 2 and 3, then 5, 4.
    popularity = np.array([6, 9, 6, 0, 2])
    assert mean_popularity_rank(LISTS, popularity) == pytest.approx((3 * 2.5 + 1 + 2.5) / 5)


def test_breakdown_by_hand():
    ranks = np.array([0, 20, 3, NOT_RANKED])
    found = breakdown(ranks, np.array([2, 4, 5, 30]), (0, 5, 10))
    assert [(g.low, g.high, g.users, g.hr) for g in found] == [
        (0, 4, 2, 1 / 2),
        (5, 9, 1, 1.0),
        (10, None, 1, 0.0),
    ]
    assert found[1].ndcg == pytest.approx(1 / np.log2(5))
    with pytest.raises(ValueError, match="one value from 0 up"):
        breakdown(ranks, np.array([1, 2, -1, 3]), (0, 5))


def test_figures_together():
    found = catalogue_figures(
        np.array([0, 1, 2]),
        LISTS,
        np.array([6, 9, 6, 0, 2]),
        np.array([3, 7, 7]),
        np.array([1, 4, 5]),
    )
    assert found["coverage@2"] == 3 / 5
    assert [g["users"] for g in found["by_history_length"]] == [1, 2]
    assert [(g["low"], g["users"]) for g in found["by_item_popularity"]] == [(0, 1), (1, 1), (5, 1)]


def test_lists_without_any_item_are_spread_over_nothing():
    empty = np.zeros((3, 2), dtype=int)
    numbers = np.array([6, 9, 6, 0, 2]), np.array([3, 7, 7]), np.array([1, 4, 5])
    found = catalogue_figures(np.array([0, 1, 2]), empty, *numbers)
    assert found.keys() == {"metrics", "by_history_length", "by_item_popularity"}
