"""compare.py: tables and tests over run folders, and what is refused."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

import compare
from modules.reports.entries import entries
from modules.reports.paired_tests import differences
from modules.reports.tables import entries_as_csv, entries_as_markdown
from modules.runs.results import read_result, title_of
from tests.conftest import write_folder
from tests.test_scripts import script
from utils import cli
from utils.errors import UserError
from utils.json_files import write_json, write_jsonl
from utils.metrics.ranking import known_cutoffs, ranking_metrics

BOTH = ("sequential", "direct")


def write_run(
    folder, ranks, task="direct", candidates="c0", first_user=1, target=50, top_n=10, **more
):
    """A run's files of one task, as an evaluation leaves them; ranks: -1 = not in the list."""
    result = {
        "method": "made-up",
        "dataset": "beauty",
        "command": "python compare.py baselines",
        "versions": {},
        "commit": None,
        "held_out_edges_seen": 0,
        "held_out_records_seen": 0,
        "users": len(ranks),
        "decode": "exact",
        "protocol": "clean",
        "item_ids": "random",
        "seed": 0,
        "candidates": candidates,
        "arguments": {"top_n": top_n},
        "metrics": ranking_metrics(np.asarray(ranks), known_cutoffs(top_n, False)),
    }
    rows = [ranked_row(first_user + n, target, int(rank), top_n) for n, rank in enumerate(ranks)]
    write_json(folder / f"{task}.json", result | more)
    write_jsonl(folder / f"{task}.jsonl", rows)
    return folder


def ranked_row(user, target, rank, top_n=10):
    """A user's line; the list is of others but for the target."""
    items = [target if place == rank else 100 + place for place in range(top_n)]
    return {
        "user": user,
        "user_id": f"U{user}",
        "items": items,
        "item_ids": [f"I{item}" for item in items],
        "scores": [-1.0] * top_n,
        "target": target,
        "target_id": f"I{target}",
        "rank": None if rank < 0 else rank,
    }


def random_ranks(seed, better=0.0, users=1500):
    """HR@10 about .4; with ``better``, more of the users have theirs first."""
    generator = np.random.default_rng(seed)
    ranks = np.where(generator.random(users) < 0.4, generator.integers(0, 10, users), -1)
    return np.where(generator.random(users) < better, 0, ranks)


def test_published_figures_are_added_and_marked(tmp_path):
    write_run(tmp_path / "a", [0, 3, -1, 9])
    rows = entries([tmp_path / "a"])
    text = entries_as_markdown(rows)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert "0.2500" in lines["made-up"]
    assert "clean" in lines["made-up"]
    assert "0.0829" in lines["POD (PUBLISHED)"]
    assert "paper" in lines["POD (PUBLISHED)"]
    table = list(csv.DictReader(entries_as_csv(rows).splitlines()))
    assert {"made-up", "POD (PUBLISHED)"} == {row["method"] for row in table}
    value = next(r["value"] for r in table if (r["method"], r["figure"]) == ("made-up", "HR@5"))
    assert float(value) == 0.5


def test_a_model_with_the_linear_model_added_says_so(tmp_path):
    training = {"arguments": {"method": "pod"}}
    for weight in 0, 100:
        more = {"training": training, "arguments": {"top_n": 10, "linear": weight}}
        write_run(tmp_path / str(weight), [0, 3], **more)
    rows = entries([tmp_path / "0", tmp_path / "100"])
    assert [row.method for row in rows[:2]] == ["pod", "pod + linear"]
    results = [read_result(tmp_path / name, "direct") for name in ("0", "100")]
    assert [title_of(result) for result in results] == ["POD", "POD + linear"]


def test_a_model_ranked_without_its_graphs_says_so(tmp_path):
    for graph, left_out in (("both", False), ("both", True), ("none", True)):
        training = {"arguments": {"method": "pod", "item_graph": graph}}
        how = {"top_n": 10, "no_item_graph": left_out}
        write_run(tmp_path / f"{graph}{left_out}", [0, 3], training=training, arguments=how)
    names = ("bothFalse", "bothTrue", "noneTrue")
    results = [read_result(tmp_path / name, "direct") for name in names]
    assert [title_of(result) for result in results] == ["POD", "POD, graphs left out", "POD"]


def test_names_do_not_break_tables(tmp_path):
    odd = {"method": "a|b\n=c", "dataset": "=1+1\n|", "item_ids": "-x"}
    write_run(tmp_path / "a", [0, 3, -1, 9], **odd)
    rows = entries([tmp_path / "a"])
    head, _, header, rule, line = entries_as_markdown(rows).splitlines()
    assert head == r"## =1+1 \|, direct"
    assert line.replace(r"\|", "").count("|") == header.count("|") == rule.count("|")
    assert r"| a\|b =c | clean" in line
    rows = [rows[0]._replace(source="@s", metrics={"+m": -0.5})]
    (line,) = csv.DictReader(entries_as_csv(rows).splitlines(keepends=True))
    assert line["method"] == odd["method"]
    assert [line[name] for name in ("dataset", "item_ids", "source", "figure", "value")] == [
        "'=1+1\n|",
        "'-x",
        "'@s",
        "'+m",
        "-0.5",  # a number
    ]


def test_seeds_of_one_method_differ_by_chance_and_a_better_one_by_more(tmp_path):
    same = [write_run(tmp_path / f"a{s}", random_ranks(s)) for s in range(2)]
    better = write_run(tmp_path / "b", random_ranks(2, better=0.1))
    found, _ = differences([same[0]], [same[1]], BOTH, 0, 999)
    assert all(row.p_holm > 0.05 for row in found)
    found, _ = differences(same, [better], BOTH, 0, 999)
    by_metric = {row.metric: row for row in found}
    assert by_metric["HR@1"].p_holm < 0.05
    assert by_metric["HR@1"].paired.mean < 0
    assert by_metric["HR@1"].a.shape == (2,)


def test_difference_is_that_of_the_exact_test(tmp_path):
    a, b = random_ranks(0), random_ranks(1, better=0.02)
    found, _ = differences(
        [write_run(tmp_path / "a", a)], [write_run(tmp_path / "b", b)], BOTH, 0, 9999
    )
    row = next(row for row in found if row.metric == "HR@5")
    hits = [(r >= 0) & (r < 5) for r in (a, b)]
    only = [int((hits[0] & ~hits[1]).sum()), int((hits[1] & ~hits[0]).sum())]
    assert row.paired.mean == pytest.approx((only[0] - only[1]) / len(a))
    # McNemar's exact test; the tolerance is eight standard errors of a share of 9,999.
    assert row.paired.p == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue, abs=0.04)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first_user": 2}, "different users"),
        ({"target": 60}, "different targets"),
        ({"candidates": "c1"}, "ranked different candidates"),
        ({"dataset": "toys"}, "different data sets"),
        ({"top_n": 5}, r"--top_n 5, without HR@10, NDCG@10; .* again with --top_n 10"),
        ({"task": "sequential"}, "none of the tasks sequential, direct"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path, change, message):
    a = write_run(tmp_path / "a", [0, 1, 2])
    b = write_run(tmp_path / "b", [0, 1, 2], **change)
    with pytest.raises(UserError, match=message) as refusal:
        differences([a], [b], BOTH, 0, 99)
    assert str(b) in str(refusal.value)


def test_seeds_may_have_candidates_of_their_own_if_both_sides_do(tmp_path):
    runs = {
        name + seed: write_run(tmp_path / (name + seed), [0, 1, 2], candidates=seed)
        for name in "ab"
        for seed in "01"
    }
    found, _ = differences([runs["a0"], runs["a1"]], [runs["b1"], runs["b0"]], BOTH, 0, 99)
    assert len(found) == 5
    for name in "a0", "b1":
        write_run(runs[name], [0, 1, 2], task="sequential")
    with pytest.raises(UserError, match="ranked different candidates"):
        differences([runs["a0"]], [runs["b1"]], BOTH, 0, 99)
    found, _ = differences([runs["a0"]], [runs["b1"]], ["sequential"], 0, 99)
    assert {row.task for row in found} == {"sequential"}


def test_a_run_of_an_earlier_version_is_refused(tmp_path):
    a = write_run(tmp_path / "a", [0, 1])
    path = a / "direct.json"
    result = json.loads(path.read_text())
    del result["candidates"]
    path.write_text(json.dumps(result))
    with pytest.raises(UserError, match="Evaluate the run again"):
        differences([a], [a], BOTH, 0, 99)


def test_the_whole_way(tmp_path):
    data, root = write_folder(tmp_path / "few"), tmp_path / "checkpoint"
    baselines = ["baselines", data, "--negative_num", "5", "--checkpoint", root, "--trec"]
    done = script("compare.py", *baselines)
    assert done.returncode == 0, done.stderr
    runs = sorted(root.iterdir())
    assert [run.name for run in runs] == [
        f"few-{name}" for name in ("ease", "item_knn", "linear", "next_number", "popularity")
    ]
    done = script("compare.py", "table", *runs, "--catalogue", "--out", tmp_path / "t.csv")
    assert done.returncode == 0, done.stderr
    assert "coverage@10" in done.stdout
    assert "by items before the target" in done.stdout
    assert (tmp_path / "t.csv").read_text().count("few-ease") > 40
    done = script("compare.py", "test", runs[0], runs[4], "--resamples", "99")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| sequential | ") == done.stdout.count("| direct ") == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "nowhere"], "no such folder"),
        (["table", "."], "Evaluate the run first"),
        (["table", "run", "--out", "t.txt"], "must end in .md, .csv, .tex, .html"),
        (["table", "run", "--out", "mine.md"], "mine.md: is there already"),
        (["table", "run", "--out", "mine.md/t.md"], "mine.md is a file. Name another folder"),
        (["table", "x" * 300], "longer than the 255 bytes"),
        (["test", "x" * 300, "run"], "longer than the 255 bytes"),
        (["table", "run", "--out", "x" * 300 + ".md"], "longer than the 255 bytes"),
        (["test", "run", ","], "needs a folder"),
        (["baselines", "few", "--methods", "magic"], "name some of popularity,"),
        (["baselines", "few", "--ease_l2", "1,x"], "'x' must be a number above 0"),
        (["baselines", "few", "--negative_num", "99"], "--negative_num 99"),
        (["baselines"], "no data folder"),
    ],
)
def test_bad_input_is_told(tmp_path, monkeypatch, capsys, arguments, message):
    write_folder(tmp_path / "few")
    write_run(tmp_path / "run", [0, 1])
    (tmp_path / "mine.md").write_text("mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["compare.py", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.run(compare.main)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "mine.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"rank": -5}, ": expected int >= 0"),
        ({"rank": 1.5}, ": expected int | null, got float"),
        ({"rank": 1e9}, ": expected int | null, got float"),
        ({"rank": 10**9}, "'rank' is 1000000000, but the target is at place 3"),
        ({"rank": True}, ": expected int | null, got bool"),
        ({"rank": "3"}, ": expected int | null, got str"),
        ({"rank": 2}, "'rank' is 2, but the target is at place 3"),
        ({"rank": None}, "'rank' is None, but the target is at place 3"),
        ({"target": 51}, "'rank' is 3, but the target is not in 'items'"),
        ({"items": [], "item_ids": [], "scores": []}, "'rank' is 3, but the target is not in"),
        ({"items": []}, "are not of one length"),
        ({"items": [1] * 3 + [50] + [2] * 6}, "holds an item twice"),
        ({"items": "1 2 3"}, ": expected array, got str"),
        ({"user": None}, ": expected int, got null"),
    ],
)
def test_ranks_that_are_not_those_of_the_lists(tmp_path, row, words):
    run = write_run(tmp_path / "a", [0, 3, -1])
    path = run / "direct.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1] |= row
    write_jsonl(path, rows)
    with pytest.raises(UserError) as refusal:
        differences([run], [run], BOTH, 0, 99)
    assert str(refusal.value).startswith(f"{path}, line 2: ")
    assert words in str(refusal.value)


def test_one_user_is_too_few(tmp_path):
    run = write_run(tmp_path / "a", [0])
    with pytest.raises(UserError, match=r"direct.jsonl: 1 users; a test needs two"):
        differences([run], [run], BOTH, 0, 99)


def test_short_lists_that_hold_all_candidates_can_be_compared(tmp_path):
    ranks = [0, 3, 2, 1]
    more = {"whole_lists": True, "metrics": ranking_metrics(np.asarray(ranks), (1, 5, 10))}
    run = write_run(tmp_path / "a", ranks, top_n=4, **more)
    found, _ = differences([run], [run], BOTH, 0, 99)
    assert {row.metric: row.a[0] for row in found}["HR@10"] == 1
    older = write_run(tmp_path / "b", ranks, top_n=4, metrics=more["metrics"])
    with pytest.raises(UserError, match="--top_n 4, without deeper figures"):
        differences([older], [older], BOTH, 0, 99)


def test_items_had_before_are_treated_alike_on_both_sides(tmp_path):
    def seen(name, how, count):
        more = {"target_seen": count, "arguments": {"top_n": 10, "seen": how}}
        return write_run(tmp_path / name, [0, 1, 2], **more)

    with pytest.raises(UserError, match=r"treated in two ways \(drop and keep\)"):
        differences([seen("a", "drop", 1)], [seen("b", "keep", 1)], BOTH, 0, 99)
    found, _ = differences([seen("a", "drop", 0)], [seen("b", "keep", 0)], BOTH, 0, 99)
    assert len(found) == 5


def test_tables_say_of_how_many_users(tmp_path):
    folders = [write_run(tmp_path / str(n), [0] * n, top_n=n + 1) for n in (1200, 3)]
    rows = entries(folders)
    lines = [line.split("|") for line in entries_as_markdown(rows).splitlines() if "made" in line]
    assert [line[5].strip() for line in lines] == ["1,200", "3"]
    assert [line[8].strip() for line in lines] == ["1.0000", ""]  # HR@10
    table = csv.DictReader(entries_as_csv(rows).splitlines())
    assert {row["users"] for row in table if row["method"] == "made-up"} == {"1,200", "3"}


def test_tables_say_what_became_of_items_had_before(tmp_path):
    for how, task, words in (
        ("drop", "sequential", "count as misses: 2"),
        ("drop", "direct", "are among the candidates: 2"),
        ("keep", "sequential", "could be listed: 2"),
    ):
        more = {"target_seen": 2, "arguments": {"top_n": 10, "seen": how}}
        run = write_run(tmp_path / (how + task), [0, -1, -1], task=task, **more)
        text = entries_as_markdown(entries([run]))
        assert f"- {run}: test items that their user had before {words}." in text.splitlines()
    run = write_run(tmp_path / "new", [0], target_seen=0)
    assert "had before" not in entries_as_markdown(entries([run]))


def test_tables_say_how_many_negatives_where_they_differ(tmp_path):
    runs = [
        write_run(tmp_path / str(count), [0, 1], arguments={"top_n": 10, "negative_num": count})
        for count in (5, 99)
    ]
    text = entries_as_markdown(entries(runs))
    assert f"- {runs[0]}: among 5 negatives.\n- {runs[1]}: among 99 negatives." in text
    assert "negatives" not in entries_as_markdown(entries(runs[:1]))


def test_a_folder_may_have_a_comma_in_its_name(tmp_path):
    run = write_run(tmp_path / "a,b", [0, 1])
    other = write_run(tmp_path / "c", [0, 1])
    assert compare._folders(str(run)) == [run]
    assert compare._folders(f"{other},{other}") == [other, other]
