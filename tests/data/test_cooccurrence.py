"""Vectors and numbers of items from the train interactions, checked by hand and by NumPy."""

import numpy as np
from scipy import sparse

from modules.data.cooccurrence import (
    collaborative_numbers,
    collaborative_order,
    cooccurrence,
    cooccurrence_vectors,
    rough_eigenvectors,
)


def test_pairs_are_counted_by_their_gap_and_no_held_out_item_is(dataset):
    """Train parts: 3 1 4 | 1 2 | 7 8 9 1 | 12 11."""
    expected = np.zeros((13, 13))
    weights = {(3, 1): 1, (1, 4): 1, (3, 4): 0.5, (1, 2): 1, (7, 8): 1, (8, 9): 1, (9, 1): 1}
    weights |= {(7, 9): 0.5, (8, 1): 0.5, (7, 1): 0.25, (12, 11): 1}
    for (a, b), weight in weights.items():
        expected[a, b] = expected[b, a] = weight
    assert np.array_equal(cooccurrence(dataset, 0.5).toarray(), expected[1:, 1:])


def test_vectors_span_the_largest_eigenvalues(dataset):
    counts = cooccurrence(dataset, 0.7).toarray()
    degrees = counts.sum(axis=1)
    scale = np.where(degrees > 0, np.maximum(degrees, 1e-9), 1) ** -0.5
    values, vectors = np.linalg.eigh(scale[:, None] * counts * scale + np.eye(12))
    best = vectors[:, -11:] * np.sqrt(np.maximum(values[-11:], 0))
    best /= np.maximum(np.linalg.norm(best, axis=1, keepdims=True), 1e-12)
    ours = cooccurrence_vectors(dataset, 11)
    # An axis has no direction, and equal eigenvalues no axes of their own: compare the products.
    np.testing.assert_allclose(ours @ ours.T, best @ best.T, atol=1e-4)


def test_the_same_data_give_the_same_vectors(dataset):
    first = cooccurrence_vectors(dataset, 32)
    assert all(np.array_equal(cooccurrence_vectors(dataset, 32), first) for _ in range(5))


def test_what_is_wider_than_items_need_ends_in_zeros(dataset):
    wide = cooccurrence_vectors(dataset, 20)
    assert wide.shape == (12, 20)
    narrow = cooccurrence_vectors(dataset, 11)
    np.testing.assert_allclose(wide @ wide.T, narrow @ narrow.T, atol=1e-5)
    assert not wide[:, 11:].any()


def test_order_keeps_clusters_together():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [3, 9], [20, 0], [20, 9]])  # two pairs of clusters
    cluster = rng.permutation(np.repeat(np.arange(4), 16))
    order = collaborative_order(centres[cluster] + rng.normal(size=(64, 2)))
    assert sorted(order) == list(range(64))
    assert (np.diff(cluster[order]) != 0).sum() == 3
    assert {0, 1} in (set(cluster[order[:32]]), set(cluster[order[32:]]))


def test_numbers_are_each_used_once(dataset):
    numbers = collaborative_numbers(dataset)
    assert numbers[0] == 0
    assert sorted(numbers[1:]) == list(range(1, 13))


def test_of_many_items_the_rough_vectors_span_the_same(dataset, monkeypatch, capsys):
    """Of twelve items every partner is kept and no vector is beyond: nothing is left out."""
    exact = cooccurrence_vectors(dataset, 11)
    monkeypatch.setattr("modules.data.cooccurrence.MANY", 5)
    rough = cooccurrence_vectors(dataset, 11)
    assert "12 items, roughly" in capsys.readouterr().out
    np.testing.assert_allclose(rough @ rough.T, exact @ exact.T, atol=1e-3)


def test_rough_eigenvectors_are_those_of_the_largest_values():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(200, 200)))[0]
    values = np.concatenate([np.linspace(1.5, 2, 5), np.linspace(0, 0.5, 195)])
    matrix = sparse.csr_matrix((basis * values) @ basis.T).astype(np.float32)
    found, vectors = rough_eigenvectors(lambda x: matrix @ x, 200, 5)
    np.testing.assert_allclose(found, values[:5], rtol=1e-4)
    np.testing.assert_allclose(vectors @ vectors.T, basis[:, :5] @ basis[:, :5].T, atol=1e-3)
