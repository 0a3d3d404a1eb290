"""A_hat and W against scipy and numpy on a hand-made graph; the gradient against gradcheck."""

import numpy as np
import scipy.sparse
import torch

from modules.model.graph import normalized_adjacency, propagate

# Three users and four items; item 4 (node 7) and node 0 are isolated.
EDGES = np.array([[1, 1, 2, 3, 3, 3], [1, 2, 2, 1, 2, 3]])
N_USERS, N_ITEMS, N = 3, 4, 8


def dense_by_scipy() -> np.ndarray:
    matrix = scipy.sparse.lil_matrix((N, N))
    for user, item in EDGES.T:
        matrix[user, N_USERS + item] = matrix[N_USERS + item, user] = 1
    degrees = np.asarray(matrix.sum(axis=1)).ravel()
    scale = scipy.sparse.diags([d**-0.5 if d else 0.0 for d in degrees])
    return (scale @ matrix @ scale).toarray()


def test_adjacency_is_scipys():
    graph = normalized_adjacency(EDGES, N_USERS, N_ITEMS)
    np.testing.assert_allclose(graph.matrix().to_dense(), dense_by_scipy(), atol=1e-7)


def test_one_entry_by_hand():
    # User 1 has 2 items, item 2 has 3 users.
    graph = normalized_adjacency(EDGES, N_USERS, N_ITEMS)
    assert np.isclose(graph.matrix().to_dense()[1, 5], 1 / np.sqrt(2 * 3))


def test_repeated_pairs_count_once():
    once = normalized_adjacency(EDGES, N_USERS, N_ITEMS)
    twice = normalized_adjacency(np.concatenate([EDGES, EDGES], axis=1), N_USERS, N_ITEMS)
    for a, b in zip(once, twice):
        torch.testing.assert_close(a, b)


def test_propagation_is_the_mean_of_powers():
    features = np.random.default_rng(0).normal(size=(N, 5))
    a_hat, layers = dense_by_scipy(), 3
    expected = sum(np.linalg.matrix_power(a_hat, k) @ features for k in range(layers + 1)) / 4
    graph = normalized_adjacency(EDGES, N_USERS, N_ITEMS)
    got = propagate(torch.tensor(features, dtype=torch.float32), graph, layers)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    # An isolated node keeps E0 / (L + 1); without layers, W is E0.
    np.testing.assert_allclose(got[7], features[7] / 4, atol=1e-7)
    np.testing.assert_allclose(propagate(torch.tensor(features), graph, 0), features)


def test_gradient():
    graph = normalized_adjacency(EDGES, N_USERS, N_ITEMS)
    features = torch.randn(N, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e: propagate(e, graph, 3), (features,))


def test_full_precision_under_autocast():
    graph = normalized_adjacency(EDGES, N_USERS, N_ITEMS)
    features = torch.randn(N, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = propagate(features, graph, 2)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, propagate(features, graph, 2))
