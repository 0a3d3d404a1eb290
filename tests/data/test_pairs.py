"""Weighted pairs of items, against plain loops."""

import numpy as np
import pytest
from scipy import sparse

from modules.data.pairs import largest, pair_weights, stretches_of
from tests.data.test_item_graph import ITEMS, dataset_of

WEIGHTS = np.array([[0.25, 0.5], [4.0, 3.0], [2.0, 1.0]])  # three gaps; none or some items follow


def plain(rows, both):
    found = np.zeros((ITEMS + 1, ITEMS + 1))
    for row in rows:
        train = row[:-2]
        for later, item in enumerate(train):
            follow = min(len(train) - 1 - later, 1)
            for gap in range(min(later, 2) + 1):
                weight = WEIGHTS[gap, follow]
                found[item, train[later - gap]] += weight
                if both and gap:
                    found[train[later - gap], item] += weight
    return found


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("places", [1, 30, 1 << 17])
def test_it_is_the_sum_over_pairs_of_places(both, places, monkeypatch):
    monkeypatch.setattr("modules.data.pairs._PLACES", places)
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, ITEMS, rng.integers(4, 15)).tolist() for _ in range(30)]
    found = pair_weights(dataset_of(rows), WEIGHTS, 99, both)
    np.testing.assert_allclose(found.toarray(), plain(rows, both), rtol=1e-6)


def test_small_weights_are_left_out():
    rows = [[1, 2, 3, 4, 5], [2, 1, 4, 6]]
    found = pair_weights(dataset_of(rows), np.array([[0.0], [1.0], [0.01]]), 9, False, least=0.1)
    assert {tuple(pair) for pair in np.argwhere(found.toarray()).tolist()} == {
        (2, 1),
        (3, 2),
        (1, 2),
    }


def test_the_largest_of_each_row_are_kept():
    matrix = sparse.csr_matrix(np.array([[0, 1.0, 3, 3, 2], [0, 0, 0, 0, 9], [0, 0, 0, 0, 0]]))
    kept = largest(matrix, 2).toarray()
    assert kept.tolist() == [[0, 0, 3, 3, 0], [0, 0, 0, 0, 9], [0, 0, 0, 0, 0]]
    assert largest(matrix, 4) is matrix


def test_stretches_hold_every_row_once():
    rng = np.random.default_rng(0)
    for most in (1, 10, 1000):
        counts = rng.integers(0, 20, 50)
        found = list(stretches_of(counts, most))
        assert [row for first, last in found for row in range(first, last)] == list(range(50))
        assert all(
            counts[first:last].sum() <= most + counts[first:last].max() for first, last in found
        )
