"""Test items that their users had before: counted, said, and treated alike for models and
baselines."""

import json
from dataclasses import replace

import numpy as np
import pytest

from modules.baselines.simple import BASELINES
from modules.baselines.tuning import Known, make_arena, rank_all
from modules.data.audit import audit
from modules.data.dataset import HeldOut
from modules.data.reader import load_dataset
from modules.evaluation.decode import Decoding
from modules.evaluation.ranker import Ranker
from modules.evaluation.record import ranking_figures
from modules.evaluation.reranking import rerank
from modules.evaluation.seen import (
    DROP,
    KEEP,
    LEAVE_OUT,
    dropped_items,
    users_to_test,
    validated_users,
)
from modules.loader.batches import BatchSize
from modules.loader.ragged import recent_histories
from modules.training.settings import Settings
from modules.training.validation import ranking_measure
from tests.conftest import script
from tests.evaluation.conftest import REPEATS, evaluated, repeating
from utils.errors import UserError
from utils.metrics.ranking import NOT_RANKED


@pytest.fixture
def repeats(tmp_path):
    return load_dataset(repeating(tmp_path / "few"))


def test_who_had_what_is_asked_for(repeats):
    assert repeats.target_had(repeats.users, HeldOut.TEST).tolist() == [True, False, True, False]
    assert repeats.target_had(np.array([4, 2]), HeldOut.VALIDATION).tolist() == [False, True]
    shape = audit(repeats)["shape"]
    assert shape["users whose test item is a repeat"] == 2 / 4
    assert shape["users whose validation item is a repeat"] == 1 / 4


def test_by_default_they_are_misses_and_this_is_said(trained):
    result, rows, printed = evaluated(trained, "seq_reranker", "--catalogue", "--N", "12")
    assert "warning: for 2 of 4 users the test item is one that they had before" in printed
    assert "--keep_seen" in printed
    assert "--leave_out_seen" in printed
    assert (result["target_seen"], result["users"]) == (2, 4)
    assert result["arguments"]["seen"] == "drop"
    assert [rows[user]["rank"] is None for user in (1, 2, 3, 4)] == [True, False, True, False]
    assert result["metrics"]["HR@10"] == result["catalogue"]["metrics"]["HR@100"] == 2 / 4


@pytest.mark.parametrize("flag", ["--keep_seen", "--no_rerank"])
def test_kept_they_can_be_found(trained, flag):
    result, rows, printed = evaluated(trained, "seq_reranker", "--catalogue", flag, "--top_n", "12")
    assert "for 2 of 4 users" in printed
    assert (result["target_seen"], result["arguments"]["seen"]) == (2, "keep")
    assert all(sorted(row["items"]) == list(range(1, 13)) for row in rows.values())
    ranks = [row["rank"] for row in rows.values()]
    exact = np.mean([rank < 5 for rank in ranks])
    assert result["metrics"]["HR@5"] == result["catalogue"]["metrics"]["HR@5"] == exact


def test_left_out_the_others_are_tested(trained):
    everyone, rows, _ = evaluated(trained, "seq_reranker", "--catalogue")
    result, others, printed = evaluated(trained, "seq_reranker", "--catalogue", "--leave_out_seen")
    assert "left out (--leave_out_seen), 2 are tested" in printed
    assert list(others) == [2, 4]
    assert all(others[user]["items"] == rows[user]["items"] for user in others)
    assert (result["target_seen"], result["users"]) == (2, 2)
    for name, value in result["metrics"].items():
        assert value == pytest.approx(2 * everyone["metrics"][name])
    assert result["catalogue"]["metrics"]["HR@100"] == 1


def test_the_direct_task(trained):
    result, rows, printed = evaluated(trained, "topn", "--prompt", "history", "--catalogue")
    assert "for 2 of 4 users" in printed
    assert all(row["rank"] is not None for row in rows.values())  # the target is a candidate
    assert (result["target_seen"], result["metrics"]["HR@10"]) == (2, 1)
    assert result["catalogue"]["metrics"]["HR@100"] == 2 / 4
    flags = ("--prompt", "history", "--catalogue", "--top_n", "12")
    result, kept, _ = evaluated(trained, "topn", *flags, "--keep_seen")
    assert kept == rows
    assert result["catalogue"]["metrics"]["HR@100"] == 1
    assert result["catalogue"]["Gini@12"] == 0  # each item is in every list
    result, _, _ = evaluated(trained, "topn", *flags)
    assert result["catalogue"]["Gini@12"] > 0
    result, rows, _ = evaluated(trained, "topn", "--leave_out_seen")
    assert list(rows) == [2, 4]


def test_nobody_is_left(tmp_path):
    always = {user: [*items[:-1], items[0]] for user, items in REPEATS.items()}
    dataset = load_dataset(repeating(tmp_path / "few", always))
    with pytest.raises(UserError, match=r"--leave_out_seen: for 4 of 4 users .* Give --keep_seen"):
        users_to_test(dataset, dataset.users, LEAVE_OUT)


def test_only_one_of_the_flags(trained):
    data, run = trained
    done = script("seq_reranker.py", data, "--checkpoint", run, "--keep_seen", "--leave_out_seen")
    assert done.returncode == 2
    assert "not allowed with argument" in done.stderr


def test_baselines_agree(repeats):
    for seen, places in ((DROP, [1, 3]), (KEEP, []), (LEAVE_OUT, [])):
        arena = make_arena(repeats, 0, 5, 12, (1.0,), seen)
        score = BASELINES["popularity"].fit(arena.train, seed=0)
        known = Known(arena.train, HeldOut.VALIDATION)
        ranked = rank_all(arena, score, known, HeldOut.TEST, 12).of(arena.tested.users)
        missed = arena.tested.users[ranked.ranks == NOT_RANKED]
        assert missed.tolist() == places
        assert arena.tested.target_seen == 2
        if seen == KEEP:
            assert (np.sort(ranked.items, axis=1) == repeats.catalogue).all()


def test_baselines_as_a_user_runs_them(tmp_path):
    data, root = repeating(tmp_path / "few"), tmp_path / "checkpoint"
    how = ("--methods", "popularity", "--negative_num", "5", "--checkpoint", root)
    found = {}
    for flags in ((), ("--keep_seen",), ("--leave_out_seen",)):
        done = script("compare.py", "baselines", data, *how, *flags)
        assert done.returncode == 0, done.stderr
        assert "for 2 of 4 users the test item" in done.stdout
        result = json.loads((root / "few-popularity" / "sequential.json").read_text())
        assert result["target_seen"] == 2
        found[flags] = result["users"], result["metrics"]["HR@10"]
        assert result["catalogue"]["metrics"]["HR@100"] == (1 if flags else 2 / 4)
    assert found[()] == (4, 2 / 4)
    assert found[("--leave_out_seen",)] == (2, 1)


def test_validation_is_of_those_whose_item_is_new(repeats, run, tmp_path):
    assert validated_users(repeats, repeats.users, DROP)[0].tolist() == [1, 3, 4]
    assert validated_users(repeats, repeats.users, KEEP)[0].tolist() == [1, 2, 3, 4]
    always = {user: [*items[:-2], items[0], items[-1]] for user, items in REPEATS.items()}
    dataset = load_dataset(repeating(tmp_path / "always", always))
    users, seen = validated_users(dataset, dataset.users, DROP)
    assert (users.tolist(), seen) == ([1, 2, 3, 4], KEEP)


def test_a_model_is_not_chosen_by_misses(run, tmp_path):
    """Where every validation item is a repeat, the figure still tells models apart."""
    always = {user: [*items[:-2], items[0], items[-1]] for user, items in REPEATS.items()}
    dataset = load_dataset(repeating(tmp_path / "always", always))
    settings = Settings(eval_users=4, negative_num=4, batch_size=3, tasks=["sequential"])
    figures = ranking_measure(replace(run, dataset=dataset), settings)()
    assert figures["sequential HR@10"] > 0


def by_hand(orders, dataset, users, seen, top_n):
    """Lists, their ranks, and ranks in the catalogue, in plain Python. orders: by user, all."""
    lists, ranks, places = [], [], []
    for user in users.tolist():
        *had, target = dataset.history(user).tolist()
        kept = [item for item in orders[user] if seen == KEEP or item not in had]
        lists.append(kept[:top_n])
        ranks.append(kept.index(target) if target in kept[:top_n] else NOT_RANKED)
        places.append(kept.index(target) if target in kept else NOT_RANKED)
    return lists, ranks, places


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("seen", [DROP, KEEP, LEAVE_OUT])
def test_lists_and_ranks_by_hand(run, tmp_path, seed, seen):
    rng = np.random.default_rng(seed)
    top_n = int(rng.integers(1, 13))
    rows = {user: rng.integers(1, 10, rng.integers(4, 9)).tolist() for user in REPEATS}
    rows[4][-1] = 12  # there is somebody whose test item is new
    dataset = load_dataset(repeating(tmp_path / "few", rows))
    run = replace(run, dataset=dataset)
    users = users_to_test(dataset, dataset.users, seen).users
    repeated = [user for user in rows if rows[user][-1] in rows[user][:-1]]
    assert users.tolist() == [u for u in rows if seen != LEAVE_OUT or u not in repeated]
    histories = recent_histories(dataset, users, HeldOut.TEST)
    targets = dataset.targets(users, HeldOut.TEST)
    samples = run.prompts.sequential(users, histories, targets, BatchSize(3))
    ranker = Ranker.of(run, Decoding("exact"), show_progress=False)
    everything = ranker.rank(samples, dataset.catalogue, 12)
    orders = dict(zip(users.tolist(), everything.items.tolist()))
    lists, ranks, places = by_hand(orders, dataset, users, seen, top_n)

    dropped = dropped_items(dataset, users, HeldOut.TEST, seen)
    ranked = rerank(everything, dropped, top_n)
    assert [[item for item in line if item] for line in ranked.items.tolist()] == lists
    assert ranker.places(samples, targets, dropped).tolist() == places
    found = ranking_figures(ranked.items, targets, dataset.catalogue, top_n, dropped)
    assert found["short_lists"] == 0
    for name, value in found["metrics"].items():
        if name.startswith("HR@"):
            k = int(name[3:])
            hits = [0 <= place < k for place in places]  # true of the whole ranking, too
            assert value == pytest.approx(np.mean(hits))
            assert hits == [0 <= rank < k for rank in ranks]
