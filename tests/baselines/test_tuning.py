"""Ranking against plain sorting; a whole run's files; validation never sees the test item."""

import json

import numpy as np
import pytest

from modules.baselines.ranking import rank_rows
from modules.baselines.simple import BASELINES, Baseline
from modules.baselines.tuning import Fits, Known, make_arena, rank_all, run_baseline, tune
from modules.data.dataset import HeldOut
from tests.conftest import HISTORIES
from utils.metrics.ranking import NOT_RANKED


def plain_ranking(scores, items, place):
    """Sort (score, place) pairs in Python."""
    order = sorted(range(len(items)), key=lambda c: (-scores[c], place[items[c]]))
    return [items[c] for c in order if np.isfinite(scores[c])]


@pytest.mark.parametrize("shared_items", [True, False])
def test_ranks_and_lists_are_those_of_sorting(shared_items):
    generator = np.random.default_rng(0)
    n, b, k = 30, 50, 7
    place = np.concatenate([[0], generator.permutation(n)])
    everyone = np.stack([generator.permutation(n) + 1 for _ in range(1 if shared_items else b)])
    scores = generator.integers(0, 4, (b, n)).astype(np.float32)  # many ties
    scores[generator.random((b, n)) < 0.2] = -np.inf
    scores[0, 3:] = -np.inf  # fewer than k are left
    targets = generator.integers(1, n + 1, b)
    found = rank_rows(scores, everyone, place, targets, k)
    for row in range(b):
        items = everyone[0 if shared_items else row].tolist()
        listed = plain_ranking(scores[row], items, place)
        target = int(targets[row])
        assert found.ranks[row] == (listed.index(target) if target in listed else NOT_RANKED)
        assert [i for i in found.items[row].tolist() if i] == listed[:k]
    ranks_only = rank_rows(scores, everyone, place, targets, 0)
    assert (ranks_only.ranks == found.ranks).all()
    assert ranks_only.items.shape == (b, 0)


def test_what_the_user_had_is_not_recommended(dataset):
    arena = make_arena(dataset, 0, 5, 10, (1.0,))
    score = BASELINES["popularity"].fit(arena.train, seed=0)
    ranked = rank_all(arena, score, Known(arena.train, HeldOut.VALIDATION), HeldOut.TEST, 12)
    for user, items in HISTORIES.items():
        listed = [i for i in ranked.items[user - 1].tolist() if i]
        assert sorted([*listed, *items[:-1]]) == list(range(1, 13))
        assert listed[ranked.ranks[user - 1]] == items[-1]


def test_a_candidate_that_is_given_twice_is_ranked_once(dataset):
    """The target 5 of user 1 comes after 6, which is twice among its candidates."""
    candidates = np.array([[6, 5, 6, 7], [6, 4, 4, 4], [8, 8, 3, 9], [9, 9, 1, 2]])
    value = np.array([0, 1, 1.5, 1, 5, 8, 9, 7, 6, 2, 0, 0, 0], dtype=np.float32)

    def score(histories, asked):
        return np.tile(value, (len(asked.users), 1))

    arena = make_arena(dataset, 0, 3, 10, (1.0,))
    known = Known(arena.train, HeldOut.VALIDATION)
    ranked = rank_all(arena, score, known, HeldOut.TEST, 10, candidates)
    assert ranked.items.tolist() == [[6, 5, 7, 0], [6, 4, 0, 0], [8, 9, 3, 0], [9, 2, 1, 0]]
    assert ranked.ranks.tolist() == [1, 0, 2, 0]


def test_validation_sees_neither_held_out_item(dataset):
    """Every fit and every score of tuning gets the train items, and nothing else."""
    seen = []

    def spy(train, *, seed, number):
        seen.append(train.toarray())

        def score(histories, asked):
            assert asked.until == HeldOut.VALIDATION
            for user, last in zip(asked.users, asked.last):
                assert last == HISTORIES[user][-3]
            seen.append(histories.toarray())
            return np.zeros(histories.shape, dtype=np.float32)

        return score

    arena = make_arena(dataset, 0, 5, 10, (1.0, 0.5))
    baseline = Baseline("spy", spy, ({"number": 1}, {"number": 2}), weighs_recency=True)
    tried = tune(Fits(arena, baseline))
    assert len(tried["sequential"]) == 4
    assert len(tried["direct"]) == 2
    for matrix in seen:
        for user, items in HISTORIES.items():
            assert set(np.flatnonzero(matrix[user - 1]).tolist()) == set(items[:-2])


def test_each_task_asks_until_its_own_end_and_nothing_is_fitted_twice(dataset, tmp_path):
    """The direct task is tested without the validation item; the last fit is kept for the test."""
    fitted, ends = [], []

    def spy(train, *, seed):
        fitted.append(seed)

        def score(histories, asked):
            assert asked.users.tolist() == [1, 2, 3, 4]
            for user, last in zip(asked.users, asked.last):
                assert last == HISTORIES[user][: -asked.until][-1]
                assert histories[user - 1].nnz == len(HISTORIES[user]) - asked.until
            ends.append(asked.until)
            return np.zeros(histories.shape, dtype=np.float32)

        return score

    arena = make_arena(dataset, 0, 5, 10, (1.0,))
    run_baseline(arena, "spy", Baseline("spy", spy), tmp_path / "few-spy", {"top_n": 10}, False)
    assert fitted == [0]
    tuned, tested = [HeldOut.VALIDATION] * 2, [HeldOut.TEST, *[HeldOut.VALIDATION] * 2]
    assert ends == tuned + tested


def test_best_of_validation_is_taken(dataset):
    def right_if_two(train, *, seed, number):
        def score(histories, asked):
            scores = np.zeros(histories.shape, dtype=np.float32)
            if number == 2:
                scores[np.arange(4), dataset.valid_items] = 1
            return scores

        return score

    arena = make_arena(dataset, 0, 5, 10, (1.0,))
    tried = tune(Fits(arena, Baseline("right", right_if_two, ({"number": 1}, {"number": 2}))))
    for choices in tried.values():
        assert choices[0].setting == {"number": 2}
        assert choices[0].ndcg == pytest.approx(1.0)


def test_files_are_those_of_a_model(dataset, tmp_path):
    arena = make_arena(dataset, 0, 5, 10, (1.0, 0.5))
    run = tmp_path / "few-item_knn"
    run_baseline(arena, "item_knn", BASELINES["item_knn"], run, {"top_n": 10}, trec=True)
    for task, length in (("sequential", 12), ("direct", 6)):
        result = json.loads((run / f"{task}.json").read_text())
        rows = [json.loads(line) for line in (run / f"{task}.jsonl").read_text().splitlines()]
        assert result["method"] == "item_knn"
        assert [row["user"] for row in rows] == [1, 2, 3, 4]
        for row in rows:
            items = HISTORIES[row["user"]]
            assert row["target"] == items[-1]
            assert row["items"][row["rank"]] == items[-1]
            assert not set(row["items"]) & set(items[:-1])
            assert len(row["items"]) == min(10, length - (len(items) - 1) * (task != "direct"))
        assert (run / f"{task}.run.trec").is_file()
        assert result["catalogue"]["metrics"]["HR@100"] == 1.0
        assert len(result["tuning"]) == (6 if task == "sequential" else 3)
    assert result["negatives"] == "negative.txt of the data folder"


def test_ties_go_by_popularity_then_by_seed(dataset):
    arena = make_arena(dataset, 0, 5, 10, (1.0,))
    counts = np.asarray(arena.train.sum(axis=0)).ravel()
    by_place = counts[np.argsort(arena.tie_place)]
    assert (np.diff(by_place) <= 0).all()
    other = make_arena(dataset, 1, 5, 10, (1.0,))
    assert (arena.tie_place != other.tie_place).any()
