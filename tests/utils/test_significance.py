"""The paired test against exact and textbook tests of scipy; Holm by hand."""

import numpy as np
import pytest
from scipy import stats

from utils.metrics.significance import holm, paired_test


def differences(seed, mean, users=2000):
    """Differences of hits: -1, 0 or 1."""
    generator = np.random.default_rng(seed)
    share = 0.03
    return generator.choice([-1, 0, 1], size=users, p=[share, 1 - 2 * share - mean, share + mean])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mean", [0.0, 0.01])
def test_for_hits_it_is_the_exact_mcnemar_test(seed, mean):
    values = differences(seed, mean)
    found = paired_test(values, np.random.default_rng(0))
    exact = stats.binomtest(int((values > 0).sum()), int((values != 0).sum())).pvalue
    # Twice a share of 9,999 resamples: four of its standard errors at the widest.
    assert found.p == pytest.approx(exact, abs=4 * 2 * (0.25 / 9999) ** 0.5)
    assert found.mean == pytest.approx(values.mean())


def test_few_users_get_the_exact_p_value():
    # All three differ one way: of 2^3 signs two are as extreme.
    assert paired_test(np.array([1.0, 1.0, 0.5, 0.0]), np.random.default_rng(0)).p == 2 / 8


def test_p_value_and_interval_are_near_those_of_the_t_test():
    values = np.random.default_rng(3).normal(0.08, 1, 800)
    found = paired_test(values, np.random.default_rng(0))
    t = stats.ttest_1samp(values, 0)
    interval = t.confidence_interval(0.95)
    assert found.p == pytest.approx(t.pvalue, abs=0.01)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.006)


def test_rejects_no_more_often_than_it_says():
    ps = [paired_test(differences(s, 0.0), np.random.default_rng(s), 199).p for s in range(200)]
    assert np.mean(np.array(ps) < 0.05) < 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


def test_methods_that_agree_on_all_users():
    assert paired_test(np.zeros(5), np.random.default_rng(0)) == (0, 0, 0, 1)
    assert paired_test(np.array([0.0, 1.0, 0.0]), np.random.default_rng(0)).p == 1
    with pytest.raises(ValueError, match="two at least"):
        paired_test(np.zeros(1), np.random.default_rng(0))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
