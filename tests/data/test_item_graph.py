"""The item graph: without a user it is the graph that is fitted without that user."""

from pathlib import Path

import numpy as np
import pytest

from modules.data import item_graph as module
from modules.data.dataset import RecDataset
from modules.data.histories import Stretches
from modules.data.item_graph import PAST, SMALLEST_EDGE, item_graph, solve
from modules.tasks import MAX_HISTORY

ITEMS = 12


def dataset_of(rows: list[list[int]], n_items: int = ITEMS) -> RecDataset:
    names = tuple(f"I{i}" for i in range(n_items + 1))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    users = ("", *(f"U{u}" for u in range(1, len(rows) + 1)))
    items = np.concatenate(rows).astype(np.int32)
    return RecDataset("made up", Path(), users, names, items, offsets, None, None, {})


def random_rows(users: int, longest: int, repeats: bool) -> list[list[int]]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, longest, users)
    return [rng.choice(np.arange(1, ITEMS + 1), n, replace=repeats).tolist() for n in lengths]


def in_training(graph: module.ItemGraph, dataset: RecDataset, user: int) -> np.ndarray:
    targets = np.arange(*dataset.target_starts[user - 1 : user + 1])
    return graph.in_training(targets).toarray()


def plain_scores(prefix: list[int], matrix: np.ndarray) -> np.ndarray:
    """s B, an item at a time."""
    total = np.zeros(len(matrix))
    for age, item in enumerate(reversed(prefix[-MAX_HISTORY:])):
        total += PAST**age * matrix[item]
    return total


@pytest.mark.parametrize(("longest", "repeats"), [(10, False), (10, True), (150, True)])
def test_in_training_it_is_the_graph_fitted_without_the_user(monkeypatch, longest, repeats):
    monkeypatch.setattr(module, "SMALLEST_EDGE", 0.0)
    monkeypatch.setattr(module, "_BLOCK", 1000)
    rows = random_rows(60 if longest == 10 else 12, longest, repeats)
    dataset = dataset_of(rows)
    graph = item_graph(dataset, leave_out=True)
    shown = 0.0
    for user in range(1, 12):
        train = rows[user - 1][:-2]
        found = in_training(graph, dataset, user)[:, 1:]
        without, _ = solve(dataset_of([row for u, row in enumerate(rows, 1) if u != user]))
        cuts = range(1, len(train))
        expected = np.array([plain_scores(train[:cut], without)[1:] for cut in cuts])
        np.testing.assert_allclose(found, expected, atol=1e-5)
        with_user = np.array([plain_scores(train[:cut], solve(dataset)[0])[1:] for cut in cuts])
        shown = max(shown, np.abs(with_user - expected).max())
    assert shown > 1e-2  # what the graph would have given away


@pytest.mark.parametrize("longest", [10, 150])
def test_the_target_says_nothing_of_itself(monkeypatch, longest):
    """The last train item is a target and in no prefix: another in its place changes no score of
    its block."""
    monkeypatch.setattr(module, "SMALLEST_EDGE", 0.0)
    rows = [row[:] for row in random_rows(60, longest, True)]
    before = item_graph(dataset_of(rows), leave_out=True)
    changed = item_graph(dataset_of(rows), leave_out=False)
    for user in (1, 5):
        rows[user - 1][-3] = rows[user - 1][-3] % ITEMS + 1
        after = item_graph(dataset_of(rows), leave_out=True)
        found = [in_training(g, dataset_of(rows), user) for g in (before, after)]
        last = slice(-((len(found[0]) - 1) % MAX_HISTORY) - 1, None)
        np.testing.assert_allclose(found[0][last], found[1][last], atol=1e-5)
        assert np.abs((changed.edges - after.edges).toarray()).max() > 1e-3
        before = after


def test_a_user_with_one_edge_and_an_item_with_one_user():
    """Without the only user of an item, nothing follows it."""
    dataset = dataset_of([[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 9, 10]])
    graph = item_graph(dataset, leave_out=True)
    assert np.abs(in_training(graph, dataset, 2)).max() < 1e-7
    assert in_training(graph, dataset, 1)[0, 2] > 0.02  # user 3 took 2 after 1 as well


def test_edges_are_the_large_weights_and_scores_their_sums():
    dataset = dataset_of(random_rows(60, 10, False))
    whole, _ = solve(dataset)
    edges = item_graph(dataset, leave_out=False).edges
    kept = np.abs(whole) >= SMALLEST_EDGE
    kept[0] = kept[:, 0] = False
    np.testing.assert_array_equal(edges.toarray(), np.where(kept, whole, 0))
    graph = module.ItemGraph(edges)
    history = np.array([9, 3, 5, 1])
    found = graph.after(Stretches(history, np.array([0, 1]), np.array([4, 3])))
    expected = [plain_scores([9, 3, 5, 1], edges.toarray()), plain_scores([3, 5], edges.toarray())]
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5)


def test_held_out_items_are_not_in_it():
    rows = random_rows(40, 10, False)
    other = [[*row[:-2], *row[-2:][::-1]] for row in rows]
    first, second = (item_graph(dataset_of(r), leave_out=True) for r in (rows, other))
    np.testing.assert_array_equal(first.edges.toarray(), second.edges.toarray())
