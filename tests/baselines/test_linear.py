"""The linear model of next items against least squares on rows written out by hand."""

import numpy as np

from modules.baselines.linear import LinearItems, linear_items
from modules.data.dataset import HeldOut
from modules.data.histories import weighted_histories
from modules.data.item_graph import solve
from modules.evaluation.decode import Decoding
from modules.evaluation.ranker import Ranker
from modules.loader.batches import BatchSize
from modules.loader.ragged import recent_histories
from modules.tasks import MAX_HISTORY
from tests.conftest import HISTORIES


def plain(l2, past, future):
    """Every prefix of every train part, one at a time; ridge regression by NumPy's lstsq."""
    before, after = [], []
    for row in HISTORIES.values():
        train = row[:-2]
        for cut in range(1, len(train)):
            s, t = np.zeros(13), np.zeros(13)
            for age, item in enumerate(reversed(train[:cut])):
                s[item] += past**age
            for distance, item in enumerate(train[cut:]):
                t[item] += future**distance
            before.append(s)
            after.append(t)
    rows = np.vstack([before, np.sqrt(l2) * np.eye(13)])
    return np.linalg.lstsq(rows, np.vstack([after, np.zeros((13, 13))]), rcond=None)[0]


def test_matrix_is_that_of_ridge_regression(dataset):
    found = solve(dataset, 0.5, 0.7, 0.4)
    np.testing.assert_allclose(found, plain(0.5, 0.7, 0.4), atol=1e-5)


def test_scores_are_weighted_rows_of_it(dataset):
    weighted = weighted_histories(dataset, HeldOut.TEST, 0.5, MAX_HISTORY)
    histories = weighted.toarray()
    expected = np.zeros(13)
    expected[[2, 4, 1, 3]] = 1, 0.5, 0.25, 0.125  # user 1 before the test item: 3 1 4 2
    np.testing.assert_allclose(histories[0], expected)
    matrix = np.random.default_rng(0).normal(size=(13, 13)).astype(np.float32)
    found = LinearItems(matrix, weighted, 3.0).scores(np.array([0]))
    np.testing.assert_allclose(found[0], 3 * expected @ matrix, rtol=1e-5)


def test_no_weight_is_no_model(dataset):
    assert linear_items(dataset, np.arange(1, 5), 1, 0.0) is None


def test_ranking_adds_it_to_the_log_probabilities(dataset, pieces, prompts, model, trie):
    users = np.arange(1, 5)
    histories = recent_histories(dataset, users, HeldOut.TEST)
    samples = prompts.sequential(users, histories, dataset.test_items, BatchSize(2))
    ranker = Ranker(model, trie, pieces.item_targets, Decoding("exact"), show_progress=False)
    catalogue = dataset.catalogue
    linear = linear_items(dataset, users, 1, 5.0)
    items, scores, _ = ranker.rank(samples, catalogue, 12)
    alone = np.zeros((4, 13))
    np.put_along_axis(alone, items, scores, axis=1)
    both = alone + linear.scores(np.arange(4))
    expected = np.argsort(-both[:, 1:], axis=1) + 1
    found, _, _ = ranker.rank(samples, catalogue, 12, linear)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, items)
    places = ranker.places(samples, dataset.test_items, [np.array([], dtype=int)] * 4, linear)
    assert places.tolist() == [
        row.tolist().index(target) for row, target in zip(found, dataset.test_items)
    ]
