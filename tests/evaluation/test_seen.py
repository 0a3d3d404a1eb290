"""Test items that their users had before: counted, said, and treated alike for models and
baselines; and metrics that go no deeper than the lists."""

import json

import numpy as np
import pytest

from modules.baselines.simple import BASELINES
from modules.baselines.tuning import make_arena, rank_all
from modules.data.audit import audit
from modules.data.dataset import HeldOut
from modules.data.reader import load_dataset
from modules.evaluation.record import ranking_figures
from modules.evaluation.seen import DROP, KEEP, LEAVE_OUT, users_to_test, validated_users
from modules.training.settings import Settings
from modules.training.validation import ranking_measure
from tests.conftest import script, write_folder
from tests.test_scripts import SMALL
from utils.errors import UserError
from utils.metrics.ranking import NOT_RANKED

# Users 1 and 3 had their test items (3, 8), user 2 its validation item (1).
REPEATS = {1: [3, 1, 4, 2, 3], 2: [1, 2, 3, 1, 6], 3: [7, 8, 9, 1, 2, 8], 4: [12, 11, 10, 9]}


def repeating(folder, histories=REPEATS):
    """The four users' data set with these histories."""
    rows = [f"{u} {' '.join(map(str, items))}\n" for u, items in histories.items()]
    (write_folder(folder) / "sequential.txt").write_text("".join(rows))
    free = {u: [i for i in range(1, 13) if i not in row][:5] for u, row in histories.items()}
    rows = [f"{u} {' '.join(map(str, items))}\n" for u, items in free.items()]
    (folder / "negative.txt").write_text("".join(rows))
    return folder


@pytest.fixture
def repeats(tmp_path):
    return load_dataset(repeating(tmp_path / "few"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    base = tmp_path_factory.mktemp("repeats")
    data, run = repeating(base / "few"), base / "run"
    done = script("pretrain.py", data, *SMALL, "--eval_users", "4", "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    assert "for 1 of 4 users the validation item is one they had before" in done.stdout
    return data, run


def evaluated(trained, name, *flags):
    """The result, its rows by user, and what was printed."""
    data, run = trained
    done = script(f"{name}.py", data, "--checkpoint", run, "--precision", "fp32", *flags)
    assert done.returncode == 0, done.stderr
    stem = {"seq_reranker": "sequential", "topn": "direct"}[name]
    rows = [json.loads(line) for line in (run / f"{stem}.jsonl").read_text().splitlines()]
    result = json.loads((run / f"{stem}.json").read_text())
    return result, {row["user"]: row for row in rows}, done.stdout


# ------------------------------------------------------------------------------------- repeats


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
    flags = ("--prompt", "history", "--catalogue", "--keep_seen")
    result, kept, _ = evaluated(trained, "topn", *flags)
    assert kept == rows
    assert result["catalogue"]["metrics"]["HR@100"] == 1
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
        ranked = rank_all(arena, score, arena.train, HeldOut.TEST, 12).of(arena.tested.users)
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
    figures = ranking_measure(run.__class__(**{**vars(run), "dataset": dataset}), settings)()
    assert figures["sequential HR@10"] > 0


# --------------------------------------------------------------------------- depth of the lists


def names(top_n):
    """1, 5, 10 and each further multiple of 5, as far as lists of ``top_n`` go."""
    depths = [k for k in range(1, top_n + 1) if k == 1 or k % 5 == 0]
    return {f"{name}@{k}" for name in ("HR", "NDCG") for k in depths}


@pytest.mark.parametrize("top_n", [1, 3, 4, 5, 9, 10, 14, 15, 20, 23])
def test_metrics_go_as_deep_as_the_lists(top_n):
    rng = np.random.default_rng(top_n)
    lists = np.stack([rng.permutation(40)[:top_n] + 1 for _ in range(30)])
    targets = rng.integers(1, 41, 30)
    found = ranking_figures(lists, targets, np.arange(1, 41)[None], top_n)
    assert found["metrics"].keys() == names(top_n)
    assert (found["whole_lists"], found["short_lists"]) == (False, 0)
    for k in (k for k in range(1, top_n + 1) if f"HR@{k}" in found["metrics"]):
        hits = [target in line[:k] for line, target in zip(lists.tolist(), targets)]
        assert found["metrics"][f"HR@{k}"] == pytest.approx(np.mean(hits))


def test_whole_lists_say_all(capsys):
    lists = np.array([[1, 2, 3, 4], [4, 3, 2, 1]])
    candidates = np.array([[4, 3, 2, 1], [1, 2, 3, 4]])
    found = ranking_figures(lists, np.array([4, 4]), candidates, 20)
    assert found["metrics"].keys() == names(20)
    assert found["metrics"]["HR@5"] == 1
    assert found["metrics"]["HR@1"] == 1 / 2
    found = ranking_figures(lists[:, :3], np.array([4, 4]), candidates, 3)
    assert found["metrics"].keys() == names(3)
    assert "warning" not in capsys.readouterr().out


def test_lists_that_the_search_leaves_short(capsys):
    lists = np.array([[1, 2, 0, 0, 0], [4, 3, 2, 0, 0], [5, 6, 7, 8, 9]])
    had = [np.array([3, 3]), np.array([1]), np.array([2])]
    catalogue = np.arange(1, 12)[None]
    found = ranking_figures(lists, np.array([2, 2, 2]), catalogue, 5, had)
    assert found["short_lists"] == 2
    assert "2 of 3 lists have fewer than --top_n 5 items" in capsys.readouterr().out
    assert found["metrics"]["HR@5"] == pytest.approx(2 / 3)
    found = ranking_figures(lists[:2], np.array([2, 2]), catalogue, 5, had[:2])
    assert found["metrics"].keys() == names(3)  # no list goes to the fifth place
    lists = np.array([[1, 2], [4, 0]])  # of items 1 to 4, less what was had: nothing is missing
    had = [np.array([3, 4]), np.array([1, 2, 3])]
    found = ranking_figures(lists, np.array([2, 4]), np.arange(1, 5)[None], 10, had)
    assert (found["whole_lists"], found["metrics"]["HR@10"]) == (True, 1)


def test_a_shallow_run_as_a_user_makes_it(trained, tmp_path):
    result, _, printed = evaluated(trained, "seq_reranker", "--top_n", "3", "--catalogue")
    assert result["metrics"].keys() == names(3)
    assert "@5" not in printed
    assert "coverage@3" in result["catalogue"]
    deep, _, _ = evaluated(trained, "seq_reranker", "--top_n", "10", "--N", "12", "--catalogue")
    assert deep["metrics"]["HR@5"] == result["catalogue"]["metrics"]["HR@5"]
    assert "coverage@10" in deep["catalogue"]
    flags = ("--prompt", "history", "--negative_num", "3", "--top_n")
    result, _, printed = evaluated(trained, "topn", *flags, "3")
    assert result["metrics"].keys() == names(3)
    result, _, _ = evaluated(trained, "topn", *flags, "20")  # all four candidates are listed
    assert result["metrics"].keys() == names(20)
    assert result["metrics"]["HR@5"] == 1
    result, _, _ = evaluated(trained, "topn", *flags, "3")
    run = trained[1]
    done = script("compare.py", "table", run)
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("| elmrec ") and " 4 " in x][1:]
    value = f"{result['metrics']['HR@1']:.4f}"
    assert [cell.strip() for cell in line.split("|")][5:11] == ["4", value, "", "", "", ""]
    done = script("compare.py", "test", run, run, "--tasks", "direct")
    assert done.returncode == 2
    assert "lists of --top_n 3, without HR@5, HR@10, NDCG@5, NDCG@10" in done.stderr
    done = script("-m", "modules.reports.page", run, report=True)
    assert done.returncode == 0, done.stderr


def test_a_beam_search_of_the_catalogue_needs_more_beams(trained):
    data, run = trained
    flags = ("--prompt", "history", "--catalogue", "--decode", "beam", "--num_beams", "10")
    done = script("topn.py", data, "--checkpoint", run, *flags)
    assert done.returncode == 2
    assert "--num_beams 10 cannot give 15 items (--top_n, and what a user had)" in done.stderr
