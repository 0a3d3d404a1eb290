"""Item graphs: their edges are what plain loops give, and nothing held out is in them."""

from pathlib import Path

import numpy as np
import pytest

from modules.data.dataset import RecDataset
from modules.data.histories import Stretches
from modules.data.item_graph import (
    GRAPH_KINDS,
    PAST,
    SMALLEST_EDGE,
    ItemGraph,
    item_graph,
    linear_edges,
    path_edges,
    solve,
)
from modules.model.graph import normalized_adjacency
from modules.presets import ITEM_GRAPHS

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


def plain_scores(history: list[int], matrix: np.ndarray) -> np.ndarray:
    total = np.zeros(len(matrix))
    for age, item in enumerate(reversed(history)):
        total += PAST**age * matrix[item]
    return total


def test_edges_are_the_large_weights_and_scores_their_sums():
    dataset = dataset_of(random_rows(60, 10))
    whole = solve(dataset)
    edges = linear_edges(dataset)
    kept = np.abs(whole) >= SMALLEST_EDGE
    kept[0] = kept[:, 0] = False
    assert 0 < kept.sum() < kept.size
    np.testing.assert_array_equal(edges.toarray(), np.where(kept, whole, 0))
    found = ItemGraph("linear", edges, PAST).after(
        Stretches(np.array([9, 3, 5, 1]), np.array([0, 1]), np.array([4, 3]))
    )
    expected = [plain_scores([9, 3, 5, 1], edges.toarray()), plain_scores([3, 5], edges.toarray())]
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-5)


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
    graph = item_graph("paths", dataset)
    found = graph.after(Stretches(np.array([4, 2]), np.array([0]), np.array([2])))
    expected = (edges[2] + graph.past * edges[4]) @ edges @ edges
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


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
