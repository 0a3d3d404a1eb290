"""``--preset elmrec_clean`` from the first command to the last, on four users."""

import json

import pytest

from tests.conftest import HISTORIES, script, write_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    base = tmp_path_factory.mktemp("clean")
    data, run = write_folder(base / "few"), base / "run"
    flags = ("--preset", "elmrec_clean", "--epochs", "2", "--batch_size", "2")
    done = script("pretrain.py", data, *flags, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    assert "the item graphs beside the T5: τ " in done.stdout
    assert "best validation loss of texts - log NDCG@10" in done.stdout
    return data, run


def rows_of(trained, name, stem, *flags):
    data, run = trained
    done = script(f"{name}.py", data, "--checkpoint", run, *flags)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (run / f"{stem}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "stem", "more"),
    [("seq_reranker", "sequential", ()), ("topn", "direct", ("--negative_num", "5"))],
)
def test_rankings_with_the_graphs_and_without(trained, name, stem, more):
    with_graphs = rows_of(trained, name, stem, *more)
    without = rows_of(trained, name, stem, *more, "--no_item_graph")
    assert [row["target"] for row in with_graphs] == [row["target"] for row in without]
    assert [row["scores"] for row in with_graphs] != [row["scores"] for row in without]


def test_it_says_what_it_is_and_recommends_and_explains(trained):
    data, run = trained
    assert rows_of(trained, "exp", "explanation")
    arguments = json.loads((run / "run.json").read_text())["arguments"]
    assert arguments["tasks"] == ["explanation", "sequential"]
    assert (arguments["item_graph"], arguments["own_edges"]) == ("both", "drop")
    for whose in (("--user", "U1"), ("--history", "I3,I1,I4")):
        done = script("recommend.py", data, "--checkpoint", run, *whose, "--json", "--top_n", "3")
        assert done.returncode == 0, done.stderr
        items = json.loads(done.stdout.splitlines()[-1])["items"]
        assert 0 < sum(item["probability"] for item in items) <= 1
        had = {f"I{item}" for item in HISTORIES[1]} if "--user" in whose else {"I3", "I1", "I4"}
        assert not had & {item["item_id"] for item in items}
        assert items[0]["why"]


def test_a_search_that_does_not_see_the_graphs_is_refused(trained):
    data, run = trained
    done = script("seq_reranker.py", data, "--checkpoint", run, "--decode", "beam")
    assert done.returncode == 2
    assert "item graph has a score for each item" in done.stderr
