"""Is a difference between two methods more than chance? Paired, by user; pure functions.

The question is about users: would other users like these show it too? It says nothing about other
seeds of training, for which there is the spread over several runs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

_BATCH = 2_000_000  # numbers resampled at a time: 16 MB, whatever the number of users


class Paired(NamedTuple):
    """A mean paired difference, how sure it is, and whether it may be nil."""

    mean: float
    low: float  # percentile bootstrap interval
    high: float
    p: float  # two-sided


def paired_test(
    differences: np.ndarray, rng: np.random.Generator, resamples: int = 9999, level: float = 0.95
) -> Paired:
    """Permutation test and bootstrap interval of the mean of (U,) paired differences.

    The test (scipy's) swaps the two methods for each user at random. Users for whom they agree
    add nothing to any swap and are left out of it, which changes no p-value: for HR@k what is
    left is McNemar's test. No p-value is below
    2 / (resamples + 1).
    """
    differences = np.asarray(differences, dtype=float)
    if differences.size < 2:
        raise ValueError(f"{differences.size} differences: a test over users needs two at least")
    interval = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BATCH // differences.size),
        confidence_level=level,
        method="percentile",
        rng=rng,
    ).confidence_interval
    unlike = differences[differences != 0]
    p = 1.0  # of one user alone, either sign is as extreme as the other
    if unlike.size > 1:
        p = stats.permutation_test(
            (unlike,),
            np.sum,
            permutation_type="samples",  # of one sample: signs are flipped
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, _BATCH // unlike.size),
            rng=rng,
        ).pvalue
    return Paired(float(differences.mean()), float(interval.low), float(interval.high), float(p))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction: p-values that may be compared with one level together.

    The i-th smallest of m (i from 0) is multiplied by m - i, and none falls below one before it.
    """
    m = len(p_values)
    adjusted, running = [0.0] * m, 0.0
    for i, at in enumerate(sorted(range(m), key=lambda j: p_values[j])):
        running = max(running, min(1.0, (m - i) * p_values[at]))
        adjusted[at] = running
    return adjusted
