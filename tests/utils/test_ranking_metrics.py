"""Ranking metrics against fractions worked out by hand."""

import math

import numpy as np
import pytest

from utils.metrics.ranking import NOT_RANKED, hit_rate, mrr, ndcg, ranking_metrics

RANKS = np.array([0, 1, 4, 9, NOT_RANKED])


def test_hit_rate_by_hand():
    assert [hit_rate(RANKS, k) for k in (1, 2, 5, 10)] == [1 / 5, 2 / 5, 3 / 5, 4 / 5]


def test_ndcg_by_hand():
    assert ndcg(RANKS, 1) == pytest.approx(1 / 5)
    assert ndcg(RANKS, 5) == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(6)) / 5)
    assert ndcg(RANKS, 10) == pytest.approx(
        (1 + 1 / math.log2(3) + 1 / math.log2(6) + 1 / math.log2(11)) / 5
    )


def test_mrr_by_hand():
    assert mrr(RANKS, 5) == pytest.approx((1 + 1 / 2 + 1 / 5) / 5)


def test_names_and_bad_arguments():
    assert list(ranking_metrics(RANKS, (1, 5))) == ["HR@1", "HR@5", "NDCG@1", "NDCG@5"]
    with pytest.raises(ValueError, match="k is 0"):
        hit_rate(RANKS, 0)
    with pytest.raises(ValueError, match="no ranks"):
        hit_rate(np.array([]), 1)
