"""Metrics that go no deeper than the lists, by hand and as a user sees them."""

from dataclasses import replace

import numpy as np
import pytest

from modules.evaluation.record import ranking_figures, ranking_rows
from modules.evaluation.reranking import Ranked
from tests.conftest import script
from tests.evaluation.conftest import evaluated


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


def test_rows_hold_the_titles_that_there_are(dataset):
    ranked = Ranked(np.array([[5, 2, 0], [3, 1, 4]]), np.zeros((2, 3)), 0.0)
    users, targets = np.array([1, 4]), np.array([5, 9])
    plain = ranking_rows(dataset, users, ranked, targets)
    titles = tuple("" if item in (0, 2) else f"lamp {item}" for item in range(13))
    rows = ranking_rows(replace(dataset, titles=titles), users, ranked, targets)
    found = [row.pop("titles") for row in rows]
    assert rows == plain  # all else is as without them
    listed = [[5, 3, 1, 4], [3, 1, 4, 9, 12, 11, 10]]  # the list, the target, what was had before
    assert found == [{f"I{item}": f"lamp {item}" for item in items} for items in listed]


def test_whole_lists_say_all(capsys):
    lists = np.array([[1, 2, 3, 4], [4, 3, 2, 1]])
    candidates = np.array([[4, 3, 2, 1], [1, 2, 3, 4]])
    found = ranking_figures(lists, np.array([4, 4]), candidates, 20)
    assert found["metrics"].keys() == names(10)
    assert found["metrics"]["HR@5"] == 1
    assert found["metrics"]["HR@1"] == 1 / 2
    found = ranking_figures(lists, np.array([4, 4]), candidates, 2**31 - 1)
    assert found["metrics"].keys() == names(10)
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


def text_of_page(run):
    done = script("-m", "modules.reports.page", run, report=True)
    assert done.returncode == 0, done.stderr
    return (run / "report.html").read_text()


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
    assert result["metrics"].keys() == names(10)
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
    assert "of the users in each group" in text_of_page(run)  # of the sequential task
    evaluated(trained, "seq_reranker", "--top_n", "3")
    assert "of the users in each group" not in text_of_page(run)


def test_a_beam_search_of_the_catalogue_needs_more_beams(trained):
    data, run = trained
    flags = ("--prompt", "history", "--catalogue", "--decode", "beam", "--num_beams", "10")
    done = script("topn.py", data, "--checkpoint", run, *flags)
    assert done.returncode == 2
    assert "--num_beams 10 cannot give 15 items (--top_n, and what a user had)" in done.stderr
