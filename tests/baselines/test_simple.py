"""Baselines against numbers worked out by hand, dense algebra and slow plain loops."""

import numpy as np
import pytest
from scipy import sparse

from modules.baselines import simple as baselines
from modules.baselines.scorer import Asked
from modules.baselines.simple import BASELINES, ease, item_knn
from modules.data import candidates
from modules.data.dataset import HeldOut
from modules.data.histories import train_matrix, weighted_histories
from modules.data.reader import load_dataset
from modules.randomness import Stream, rng
from tests.conftest import HISTORIES
from utils.errors import UserError
from utils.metrics.ranking import hit_rate

# Users in rows; column 0 is no item. Item 3 goes with 1 twice, with 2 once; nobody has item 4.
DENSE = np.array([[0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0]], dtype=np.float32)
TRAIN = sparse.csr_matrix(DENSE)


def test_train_matrix_leaves_both_held_out_items_out(dataset):
    matrix = train_matrix(dataset).toarray()
    for user, items in HISTORIES.items():
        assert np.flatnonzero(matrix[user - 1]).tolist() == sorted(items[:-2])
    assert matrix.max() == 1


@pytest.mark.parametrize("held_out", [1, 2])
def test_weights_fall_from_the_last_item_on(dataset, held_out):
    found = weighted_histories(dataset, held_out, 0.5).toarray()
    for user, items in HISTORIES.items():
        expected = np.zeros(dataset.n_items + 1)
        for age, item in enumerate(reversed(items[:-held_out])):
            expected[item] += 0.5**age
        assert found[user - 1] == pytest.approx(expected)


def test_popularity_counts_users():
    score = baselines.popularity(TRAIN, seed=0)
    assert score(TRAIN[:2], None).tolist() == [[0, 2, 2, 2, 0]] * 2


def test_cosines_by_hand():
    score = item_knn(TRAIN, seed=0, neighbours=None)
    # cos(1,2) = 1/sqrt(2*2), cos(1,3) = 2/2, cos(2,3) = 1/2; an item says nothing of itself.
    history = sparse.csr_matrix(np.array([[0, 1.0, 0.5, 0, 0]], dtype=np.float32))
    assert score(history, None)[0] == pytest.approx([0, 0.25, 0.5, 1.25, 0])


def test_only_the_nearest_neighbours_count():
    score = item_knn(TRAIN, seed=0, neighbours=1)
    history = sparse.csr_matrix(np.array([[0, 1, 0, 0, 0]], dtype=np.float32))
    assert score(history, None)[0] == pytest.approx([0, 0, 0, 1, 0])


@pytest.mark.parametrize("items", [5, 700])  # less and more than a block
def test_ease_is_the_solution_of_its_equations(items):
    generator = np.random.default_rng(0)
    dense = (generator.random((300, items)) < 0.05).astype(np.float32)
    found = ease(sparse.csr_matrix(dense), seed=0, l2=3.0)(
        sparse.identity(items, format="csr", dtype=np.float32), None
    )
    inverse = np.linalg.inv(dense.T.astype(float) @ dense + 3.0 * np.eye(items))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert found == pytest.approx(expected, abs=1e-5)


def test_ease_refuses_what_does_not_fit_into_memory():
    with pytest.raises(UserError, match="Leave ease out of --methods"):
        ease(sparse.csr_matrix((3, 1_000_000), dtype=np.float32), seed=0, l2=1.0)


def test_next_numbers_go_round_the_catalogue():
    score = baselines.next_number(TRAIN, seed=0)
    asked = Asked(np.array([1, 2]), HeldOut.TEST, np.array([2, 4]))
    order = np.argsort(-score(TRAIN[:2], asked)[:, 1:], axis=1) + 1
    assert order.tolist() == [[3, 4, 1, 2], [1, 2, 3, 4]]


def test_matrix_factorisation_finds_two_tastes():
    pytest.importorskip("implicit")
    dense = np.zeros((40, 9), dtype=np.float32)
    generator = np.random.default_rng(0)
    for user in range(40):
        mine = np.arange(1, 5) if user % 2 else np.arange(5, 9)
        dense[user, generator.choice(mine, 3, replace=False)] = 1
    train = sparse.csr_matrix(dense)
    score = baselines.matrix_factorisation(train, seed=0, factors=2, alpha=10.0)
    found = score(train, None)
    own = np.where(np.arange(40) % 2, found[:, 1:5].min(1), found[:, 5:].min(1))
    other = np.where(np.arange(40) % 2, found[:, 5:].max(1), found[:, 1:5].max(1))
    assert (own > other).all()


def test_candidates_hold_the_target_and_nothing_that_the_user_had(folder, tmp_path):
    (folder / "negative.txt").unlink()
    dataset = load_dataset(folder)
    users = np.arange(1, 5)
    for targets, found in (
        (dataset.valid_items, candidates.valid_candidates(dataset, users, 5, 0)),
        (dataset.test_items, candidates.test_candidates(dataset, users, 5, 0, tmp_path)[0]),
    ):
        for user, target, row in zip(users, targets, found):
            assert len(set(row.tolist())) == 6
            assert set(row.tolist()) & set(HISTORIES[user]) == {target}


def test_fingerprint_knows_sets_not_orders():
    rows = np.array([[3, 1, 2], [4, 5, 6]])
    assert candidates.fingerprint(rows) == candidates.fingerprint(rows[:, ::-1].astype(np.int32))
    assert candidates.fingerprint(rows) != candidates.fingerprint(rows[::-1])
    assert candidates.fingerprint(rows) != candidates.fingerprint(rows.reshape(3, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "setting", "expected"),
    [
        ("popularity", {}, (0.055, 0.175, 0.292)),
        ("item_knn", {"neighbours": None}, (0.131, 0.302, 0.408)),
        ("ease", {"l2": 200.0}, (0.147, 0.288, 0.355)),
    ],
)
def test_direct_figures_known_of_beauty(shared, tmp_path, name, setting, expected):
    """Figures of an independent implementation, with negatives of its own."""
    dataset = load_dataset(shared / "data" / "beauty")
    train = train_matrix(dataset)
    scores = BASELINES[name].fit(train, seed=0, **setting)
    popular = np.asarray(train.sum(axis=0)).ravel()
    users = np.arange(1, dataset.n_users + 1)
    found = []
    for seed in range(3):
        drawn, _ = candidates.test_candidates(dataset, users, 99, seed, tmp_path)
        ties = popular + rng(seed, Stream.TIES).random(len(popular))
        ranks = []
        for user, row in zip(users, drawn):
            if user % 500 == 1:  # of many users at a time, for speed
                block = scores(train[user - 1 : user + 499], None)
            mine = block[(user - 1) % 500]
            order = np.lexsort((-ties[row], -mine[row]))
            ranks.append(row[order].tolist().index(dataset.test_items[user - 1]))
        found.append([hit_rate(np.array(ranks), k) for k in (1, 5, 10)])
    # Three standard errors of a share over 22,363 users, and half a digit of the known figures.
    for k, share in enumerate(expected):
        noise = 3 * (share * (1 - share) / dataset.n_users) ** 0.5 + 0.0005
        assert np.mean(found, axis=0)[k] == pytest.approx(share, abs=noise)
