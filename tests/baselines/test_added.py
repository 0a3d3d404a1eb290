"""compare.py add: lists of another program, evaluated as ours; what they must hold."""

import json
from math import log2

import pytest

from modules.runs.results import read_result, read_rows
from tests.conftest import HISTORIES, script, write_folder

TARGETS = {user: items[-1] for user, items in HISTORIES.items()}  # 5, 6, 3, 9


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "few")


@pytest.fixture
def add(data, tmp_path):
    """Run ``compare.py add`` on lines of a run file."""

    def run(lines, *flags, name="other"):
        path = tmp_path / "run.trec"
        text = "".join(f"{line}\n" for line in lines)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        where = ["--data_dir", data, "--checkpoint", tmp_path / "ck", "--name", name]
        return script("compare.py", "add", path, *where, *flags)

    return run


def lists_of(lists):
    """Run lines of lists by user."""
    return [
        f"{user} Q0 {item} {place} {1 / place} x"
        for user, items in lists.items()
        for place, item in enumerate(items, start=1)
    ]


def test_figures_are_those_of_the_lists(add, tmp_path):
    # User 1 has the target first, user 2 third, user 3 nowhere, user 4 no list.
    done = add(lists_of({1: [5, 6], 2: [7, 8, 6], 3: [4, 5]}))
    assert done.returncode == 0, done.stderr
    assert "1 of 4 users have no list" in done.stdout
    folder = tmp_path / "ck" / "few-other"
    result = read_result(folder, "sequential")
    assert (result.users, result.without_list, result.method) == (4, 1, "other")
    assert result.metrics == {"HR@1": 0.25, "NDCG@1": 0.25}  # the longest list has three places
    rows = read_rows(folder, "sequential", result)
    assert [row.rank for row in rows] == [0, 2, None, None]
    table = script("compare.py", "table", folder)
    assert "users without a list, who count as misses: 1" in table.stdout


def test_long_lists_are_cut_and_compared_with_a_baseline(add, data, tmp_path):
    free = {u: [i for i in range(1, 13) if i not in row[:-1]] for u, row in HISTORIES.items()}
    free = {u: [TARGETS[u]] + [i for i in row if i != TARGETS[u]] for u, row in free.items()}
    assert add(lists_of(free)).returncode == 0
    small = ["--negative_num", 5, "--methods", "popularity", "--checkpoint", tmp_path / "ck"]
    assert script("compare.py", "baselines", data, *small).returncode == 0
    folders = [tmp_path / "ck" / f"few-{name}" for name in ("other", "popularity")]
    done = script("compare.py", "test", *folders)
    assert done.returncode == 0, done.stderr
    assert "NDCG@10" in done.stdout
    assert read_result(folders[0], "sequential").metrics["HR@1"] == 1.0


def test_score_orders_and_rank_breaks_ties(add, tmp_path):
    lines = ["1 Q0 6 2 0.5 x", "1 Q0 5 1 0.5 x", "1\tQ0 7  3 0.1 x", ""]
    assert add(lines).returncode == 0
    folder = tmp_path / "ck" / "few-other"
    rows = read_rows(folder, "sequential", read_result(folder, "sequential"))
    assert rows[0].items == [5, 6, 7]


def test_original_ids_and_ids_that_could_be_either(add, data, tmp_path):
    lines = ["U1 Q0 I5 1 2 x", "U2 Q0 I6 1 2 x"]
    assert add(lines).returncode == 0
    assert read_result(tmp_path / "ck" / "few-other", "sequential").metrics["HR@1"] == 0.5
    maps = json.loads((data / "datamaps.json").read_text())
    maps["id2item"] = {str(n): str(n % 12 + 1) for n in range(1, 13)}  # each another's number
    (data / "datamaps.json").write_text(json.dumps(maps))
    done = add(["1 Q0 5 1 2 x"])
    assert done.returncode == 2
    assert "--ids numbers or original" in done.stderr
    for ids, item in (("numbers", 5), ("original", 4)):
        assert add(["1 Q0 5 1 2 x"], "--ids", ids).returncode == (0 if ids == "numbers" else 2)
        if ids == "numbers":
            folder = tmp_path / "ck" / "few-other"
            rows = read_rows(folder, "sequential", read_result(folder, "sequential"))
            assert rows[0].items == [item]


def test_what_a_user_had_leaves_the_lists_unless_it_is_kept(add, tmp_path):
    folder = tmp_path / "ck" / "few-other"
    done = add(lists_of({1: [3, 1, 5]}))  # 3 and 1 are of the history
    assert "2 items that their user had before leave the lists" in done.stdout
    rows = read_rows(folder, "sequential", read_result(folder, "sequential"))
    assert (rows[0].items, rows[0].rank) == ([5], 0)
    assert add(lists_of({1: [3, 1, 5]}), "--keep_seen").returncode == 0
    rows = read_rows(folder, "sequential", read_result(folder, "sequential"))
    assert (rows[0].items, rows[0].rank) == ([3, 1, 5], 2)


def test_direct_lists_hold_candidates_alone(add, data, tmp_path):
    direct = ["--task", "direct", "--negative_num", 5]
    negatives = {
        int(line.split()[0]): [int(n) for n in line.split()[1:]]
        for line in (data / "negative.txt").read_text().splitlines()
    }
    lists = {u: [TARGETS[u], *negatives[u]] for u in HISTORIES}
    done = add(lists_of(lists), *direct)
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "ck" / "few-other", "direct")
    assert result.whole_lists
    assert result.metrics["NDCG@10"] == 1.0
    other = next(i for i in range(1, 13) if i not in lists[2])
    lists[2].append(other)
    done = add(lists_of(lists), *direct)
    assert done.returncode == 2
    assert f"line 13: item '{other}' is none of the 6 candidates of user '2'" in done.stderr
    assert read_result(tmp_path / "ck" / "few-other", "direct") == result  # as it was
    (data / "negative.txt").unlink()
    assert add(lists_of({u: [TARGETS[u]] for u in HISTORIES}), *direct).returncode == 0
    assert (tmp_path / "ck" / "few-other" / "negative.txt").is_file()


def test_the_other_task_of_the_program_stays(add, tmp_path):
    folder = tmp_path / "ck" / "few-other"
    first = lists_of({u: [t] for u, t in TARGETS.items()})
    assert add(first).returncode == 0
    assert add(first, "--task", "direct", "--negative_num", 5).returncode == 0
    done = script("compare.py", "table", folder)
    assert "few, sequential" in done.stdout
    assert "few, direct" in done.stdout
    assert add(first, "--seed", 1).returncode == 0  # another run of it
    assert read_result(folder, "direct") is None


def test_ndcg_of_a_third_place(add, tmp_path):
    lists = {u: [i for i in range(1, 13) if i not in row] for u, row in HISTORIES.items()}
    lists = {u: [*row[:2], TARGETS[u], *row[2:]] for u, row in lists.items()}
    assert add(lists_of(lists), "--top_n", 7).returncode == 0
    result = read_result(tmp_path / "ck" / "few-other", "sequential")
    assert result.metrics["NDCG@5"] == pytest.approx(1 / log2(4))


WRONG = {
    "five fields": (["1 Q0 5 1 2"], "line 1: 5 fields"),
    "seven fields": (["1 Q0 5 1 2 x y"], "line 1: 7 fields"),
    "no rank": (["1 Q0 5 first 2 x"], "line 1: rank 'first'"),
    "no score": (["1 Q0 5 1 high x"], "line 1: score 'high'"),
    "NaN": (["1 Q0 5 1 nan x"], "line 1: score 'nan'"),
    "infinite": (["1 Q0 5 1 inf x"], "line 1: score 'inf'"),
    "a user too many": (["1 Q0 5 1 2 x", "5 Q0 5 1 2 x"], "line 2: user '5' is not in the data"),
    "user 0": (["0 Q0 5 1 2 x"], "line 1: user '0' is not in the data"),
    "an item too many": (["1 Q0 5 1 2 x", "1 Q0 13 2 1 x"], "line 2: item '13' is not in"),
    "an unknown original id": (["U1 Q0 I5 1 2 x", "U1 Q0 J 2 1 x"], "line 2: item 'J' is not"),
    "numbers and ids mixed": (["1 Q0 I5 1 2 x", "U2 Q0 I6 1 2 x"], "is not in the data"),
    "an item twice": (["1 Q0 5 1 2 x", "1 Q0 6 2 1 x", "1 Q0 5 3 0 x"], "first in line 1"),
    "rank against score": (["1 Q0 5 1 1 x", "1 Q0 6 2 2 x"], "line 1: rank 1 with a lower score"),
    "nothing": ([], "the file is empty"),
    "bytes": (["1 Q0 \udcff 1 2 x"], "line 1: is not UTF-8"),
    "only what was had": (["1 Q0 3 1 2 x"], "no list of a user who is tested holds an item"),
}


@pytest.mark.parametrize(("lines", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_with_its_line(lines, words, add, tmp_path):
    done = add(lines)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ck" / "few-other").exists()


@pytest.mark.parametrize("name", ["ease", "a/b", "..", "run"])
def test_a_name_that_is_taken_or_none(name, add):
    assert add(["1 Q0 5 1 2 x"], name=name).returncode == 2


def test_a_folder_of_somebody_else_stays(add, tmp_path):
    folder = tmp_path / "ck" / "few-other"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    assert add(["1 Q0 5 1 2 x"]).returncode == 2
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
