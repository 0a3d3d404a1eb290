"""Item graphs: their edges are what plain loops give, and nothing held out is in them."""

from pathlib import Path

import numpy as np
import pytest

from modules.data.dataset import RecDataset
from modules.data.item_graph import (
    FUTURE,
    GRAPH_KINDS,
    L2,
    PAST,
    SMALLEST_EDGE,
    item_graph,
    linear_edges,
    path_edges,
    solve,
)
from modules.data.near_items import solve_near
from modules.model.graph import normalized_adjacency
from modules.presets import ITEM_GRAPHS
from utils.errors import UserError

ITEMS = 12


def dataset_of(rows: list[list[int]], n_items: int = ITEMS) -> RecDataset:
    names = tuple(f"I{i}" for i in range(n_items + 1))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    users = ("", *(f"U{u}" for u in range(1, len(rows) + 1)))
    items = np.concatenate(rows).astype(np.int32)
    return RecDataset("made up", Path(), users, names, items, offsets, None, None, {})


def random_rows(users: int, longest: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, longest, users)
    return [rng.choice(np.arange(1, ITEMS + 1), n, replace=False).tolist() for n in lengths]


def test_edges_are_the_large_weights():
    dataset = dataset_of(random_rows(60, 10))
    whole = solve(dataset)
    edges = linear_edges(dataset)
    kept = np.abs(whole) >= SMALLEST_EDGE
    kept[0] = kept[:, 0] = False
    assert 0 < kept.sum() < kept.size
    np.testing.assert_array_equal(edges.toarray(), np.where(kept, whole, 0))


def test_paths_are_rows_of_odd_powers_of_the_user_item_graph():
    """For a user whose history is weighted as the graph weighs it, all items alike."""
    rows = random_rows(40, 10)
    dataset = dataset_of(rows)
    graph = normalized_adjacency(dataset.train_pairs(), dataset.n_users, dataset.n_items)
    a_hat = graph.matrix().to_dense().double().numpy()
    cubed, seventh = (np.linalg.matrix_power(a_hat, power) for power in (3, 7))
    edges, users = path_edges(dataset).toarray(), dataset.n_users
    for user in (1, 7, 40):
        own = a_hat[user, users:].copy()  # D_u^-1/2 R D_i^-1/2
        own[0] = 0.0
        np.testing.assert_allclose(own @ edges, [0.0, *cubed[user, users + 1 :]], atol=1e-6)
        hops = own @ np.linalg.matrix_power(edges, GRAPH_KINDS["paths"].hops)
        np.testing.assert_allclose(hops, [0.0, *seventh[user, users + 1 :]], atol=1e-6)


@pytest.mark.parametrize("name", GRAPH_KINDS)
def test_held_out_items_are_not_in_it(name):
    rows = random_rows(40, 10)
    other = [[*row[:-2], *row[-2:][::-1]] for row in rows]
    assert rows != other
    first, second = (GRAPH_KINDS[name].edges(dataset_of(r)).toarray() for r in (rows, other))
    np.testing.assert_array_equal(first, second)
    rows[0][0], rows[0][1] = rows[0][1], rows[0][0]  # and of train items another order, or another
    rows[1][0] = next(item for item in range(1, ITEMS + 1) if item not in rows[1])
    assert (GRAPH_KINDS[name].edges(dataset_of(rows)).toarray() != first).any()


def test_every_graph_has_a_flag():
    assert list(ITEM_GRAPHS) == ["none", *GRAPH_KINDS, "both"]
    assert ITEM_GRAPHS["both"] == tuple(GRAPH_KINDS)


@pytest.mark.parametrize(("past", "future", "l2"), [(0.5, 0.5, 30.0), (0.7, 0.4, 3.0), (1, 1, 5)])
def test_with_all_items_near_it_is_the_whole_linear_model(past, future, l2):
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 9, rng.integers(4, 60)).tolist() for _ in range(60)]
    dataset = dataset_of(rows, 8)
    found = solve_near(dataset, l2, past, future, near=9, least=0.0)
    np.testing.assert_allclose(found.toarray(), solve(dataset, l2, past, future), atol=2e-6)


def test_each_column_solves_the_equations_of_its_near_items():
    """Of G and C by the rows written out, not by pairs."""
    dataset = dataset_of(random_rows(60, 10))
    found = solve_near(dataset, 3.0, 0.5, 0.5, near=3, least=0.0).tocsc()
    before, after = [], []
    for user in range(1, 61):
        train = dataset.history(user)[:-2].tolist()
        for cut in range(1, len(train)):
            before.append(plain_row(reversed(train[:cut])))
            after.append(plain_row(train[cut:]))
    before, after = np.array(before), np.array(after)
    gram, follows = before.T @ before + 3 * np.eye(ITEMS + 1), before.T @ after
    for item in range(1, ITEMS + 1):
        column = found[:, item].toarray()[:, 0]
        near = np.flatnonzero(column)
        assert len(near) == 3
        assert follows[near, item].min() > np.sort(follows[:, item])[-3] - 1e-4
        expected = np.linalg.solve(gram[np.ix_(near, near)], follows[near, item])
        np.testing.assert_allclose(column[near], expected, rtol=1e-4)


def plain_row(items) -> np.ndarray:
    row = np.zeros(ITEMS + 1)
    for age, item in enumerate(items):
        row[item] += 0.5**age
    return row


def test_through_the_users_the_paths_are_the_same(monkeypatch):
    dataset = dataset_of(random_rows(40, 10))
    whole = item_graph("paths", dataset)
    monkeypatch.setattr("modules.data.item_graph.MOST_PATHS", 10)
    first = item_graph("paths", dataset)
    assert first.through_users
    assert not whole.through_users
    assert first.edges.shape == (ITEMS + 1, 41)
    hops = (first.edges @ first.edges.T).toarray()
    np.testing.assert_allclose(hops, whole.edges.toarray(), atol=1e-6)


def test_a_large_catalogue_has_a_sparse_linear_graph(monkeypatch, capsys):
    dataset = dataset_of(random_rows(60, 10))
    monkeypatch.setattr("modules.data.item_graph.MAX_ITEMS", 5)
    monkeypatch.setattr("modules.data.item_graph.SMALLEST_EDGE", 0.02)
    edges = linear_edges(dataset)
    assert "near ones" in capsys.readouterr().out
    whole = solve_near(dataset, L2, PAST, FUTURE).toarray()
    kept = np.abs(whole) >= 0.02
    assert 0 < kept.sum() < (whole != 0).sum()
    np.testing.assert_array_equal(edges.toarray(), np.where(kept, whole, 0))


def test_too_little_memory_is_said_with_its_figures(monkeypatch):
    monkeypatch.setattr("utils.memory.free_memory", lambda: 1000)
    with pytest.raises(UserError, match=r"12 items needs 0.0 GB of memory, and 0.0 GB are free"):
        solve(dataset_of(random_rows(60, 10)))
