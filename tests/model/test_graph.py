"""A_hat and W against scipy and numpy on a hand-made graph; the gradient against gradcheck."""

import numpy as np
import pytest
import scipy.sparse
import torch

from modules.model.graph import normalized_adjacency, propagate, propagate_to, without_edges

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


@pytest.mark.parametrize("layers", [0, 1, 4])
def test_rows_by_themselves_are_rows_of_the_whole(layers):
    graph = normalized_adjacency(EDGES, N_USERS, N_ITEMS)
    nodes = torch.tensor([6, 0, 2, 7])
    weight = torch.randn(4, 5, dtype=torch.float64)
    found = []
    for rows in (
        lambda e: propagate_to(e, graph, layers, nodes),
        lambda e: propagate(e, graph, layers)[nodes],
    ):
        features = torch.randn(N, 5, dtype=torch.float64, generator=torch.manual_seed(0))
        features.requires_grad_()
        out = rows(features)
        (out * weight).sum().backward()
        found.append((out, features.grad))
    torch.testing.assert_close(*found)


def test_full_precision_under_autocast():
    graph = normalized_adjacency(EDGES, N_USERS, N_ITEMS)
    features = torch.randn(N, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = propagate(features, graph, 2)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, propagate(features, graph, 2))


def dense(edges: np.ndarray, n_users: int, n_items: int) -> np.ndarray:
    """A_hat by its definition, in float64."""
    a = np.zeros((n_users + n_items + 1,) * 2)
    a[edges[0], edges[1] + n_users] = a[edges[1] + n_users, edges[0]] = 1.0
    degrees = a.sum(axis=1)
    with np.errstate(divide="ignore"):
        scale = np.where(degrees > 0, degrees**-0.5, 0.0)
    return scale[:, None] * a * scale


def mean_of_powers(a_hat: np.ndarray, features: np.ndarray, layers: int) -> np.ndarray:
    powers = (np.linalg.matrix_power(a_hat, k) @ features for k in range(layers + 1))
    return sum(powers) / (layers + 1)


# Pairs of user and item that leave the graph of EDGES; item 0 stands for all items.
LEAVE = {
    "none": [],
    "one edge": [(1, 2)],
    "the only edge of a user": [(2, 2)],
    "the only edge of an item": [(3, 3)],
    "no edges": [(2, 4), (1, 3), (2, 1)],
    "an edge twice, beside no edge": [(3, 1), (3, 1), (2, 3), (3, 1)],
    "all of a user": [(3, 0)],
    "all of a user, and more": [(3, 0), (3, 1), (1, 2), (3, 0)],
    "all of all": [(1, 0), (2, 0), (3, 0)],
    "all, one by one": EDGES.T.tolist(),
}


@pytest.mark.parametrize("pairs", LEAVE.values(), ids=LEAVE)
def test_a_graph_without_edges_is_one_that_never_had_them(pairs):
    check_without(EDGES, N_USERS, N_ITEMS, np.array(pairs, dtype=np.int64).reshape(-1, 2))


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_without_edges(seed):
    rng = np.random.default_rng(seed)
    n_users, n_items = rng.integers(1, 30, size=2)
    edges = rng.integers(1, [[n_users + 1], [n_items + 1]], size=(2, rng.integers(1, 80)))
    pairs = rng.integers([1, 0], [n_users + 1, n_items + 1], size=(8, 2))
    check_without(edges, n_users, n_items, np.concatenate([pairs, edges.T[:4]]))


def check_without(edges: np.ndarray, n_users: int, n_items: int, pairs: np.ndarray) -> None:
    gone = {tuple(pair) for pair in pairs.tolist()}
    left = [(u, i) for u, i in edges.T.tolist() if not {(u, i), (u, 0)} & gone]
    a_hat = dense(np.array(left, dtype=np.int64).reshape(-1, 2).T, n_users, n_items)
    features = np.random.default_rng(0).normal(size=(n_users + n_items + 1, 5))
    expected = mean_of_powers(a_hat, features, 3)
    users, items = torch.from_numpy(pairs.T)
    items = torch.where(items > 0, items + n_users, 0)
    graph = normalized_adjacency(edges, n_users, n_items)
    for dtype, limit in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
        whole = graph._replace(values=graph.values.to(dtype))
        found = without_edges(whole, users, items)
        assert torch.equal(whole.values, graph.values.to(dtype))  # it is left as it is
        matrix = found.matrix(check=True).to_dense()
        assert torch.equal(matrix, matrix.T)
        np.testing.assert_allclose(matrix, a_hat, rtol=0, atol=limit)
        w = propagate(torch.tensor(features, dtype=dtype), found, 3)
        np.testing.assert_allclose(w, expected, rtol=limit, atol=limit)


def test_a_graph_of_no_edges_has_none_to_lose():
    graph = normalized_adjacency(np.zeros((2, 0), dtype=np.int64), 2, 3)
    found = without_edges(graph, torch.tensor([1, 2]), torch.tensor([3, 0]))
    assert found.values.numel() == 0


def test_gradient_without_edges():
    graph = normalized_adjacency(EDGES, N_USERS, N_ITEMS)
    graph = graph._replace(values=graph.values.double())
    graph = without_edges(graph, torch.tensor([1, 3]), torch.tensor([5, 0]))
    features = torch.randn(N, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e: propagate(e, graph, 3), (features,))
