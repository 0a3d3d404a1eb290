"""Published files and published commands, as they are: an item twice on a line of negative.txt, a
blank explanation, a data folder that is a link, ``--model_version``, ``direct.py``."""

import json

import numpy as np
import pytest

from modules.evaluation.flags import check_folders
from modules.evaluation.published import PublishedSearch
from tests.conftest import script, write_folder
from tests.test_scripts import SMALL

# Each user's negatives, some twice; the test items are 5, 6, 3 and 9.
NEGATIVES = {1: [6, 7, 6, 9, 10], 2: [4, 4, 4, 4, 4], 3: [4, 5, 6, 10, 11], 4: [1, 2, 1, 2, 3]}
TARGETS = {1: 5, 2: 6, 3: 3, 4: 9}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """``toys``, a link to such a folder, and a run on it."""
    base = tmp_path_factory.mktemp("published")
    folder, data, run = write_folder(base / "elsewhere"), base / "toys", base / "run"
    rows = [f"{u} {' '.join(map(str, items))}\n" for u, items in NEGATIVES.items()]
    (folder / "negative.txt").write_text("".join(rows))
    texts = json.loads((folder / "explanation.json").read_text())
    for records in texts.values():
        records.insert(0, {"user": 2, "item": 3, "explanation": " ", "feature": "blank"})
    (folder / "explanation.json").write_text(json.dumps(texts))
    data.symlink_to(folder)
    done = script("pretrain.py", f"{data}/", *SMALL, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    assert "negative.txt: 3 of 4 lines hold an item twice, line 1 first" in done.stdout
    assert "train: 1 of 6 records have a blank explanation" in done.stdout
    return data, run


def direct(run):
    """The result of the direct task, and each user's list."""
    lines = (run / "direct.jsonl").read_text().splitlines()
    rows = {row["user"]: row for row in map(json.loads, lines)}
    return json.loads((run / "direct.json").read_text()), rows


def check_lists(result, rows):
    """Each list holds what there is, once, and the metrics are those of the lists."""
    for user, row in rows.items():
        assert sorted(row["items"]) == sorted({TARGETS[user], *NEGATIVES[user]})
    ranks = np.array([rows[user]["items"].index(TARGETS[user]) for user in TARGETS])
    assert result["metrics"]["HR@1"] == pytest.approx((ranks < 1).mean())
    gains = np.where(ranks < 5, 1 / np.log2(ranks + 2), 0)
    assert result["metrics"]["NDCG@5"] == pytest.approx(gains.mean())
    assert (result["whole_lists"], result["short_lists"]) == (True, 0)


def test_a_link_has_the_settings_of_its_name(trained):
    _, run = trained
    assert json.loads((run / "run.json").read_text())["dataset"] == "toys"
    config = json.loads((run / "config.json").read_text())["elmrec"]
    assert (config["alpha"], config["sigma"]) == (9, 5)


@pytest.mark.parametrize("name", ["topn.py", "direct.py"])
@pytest.mark.parametrize(
    "flags", [(), ("--decode", "beam"), ("--prompt", "history", "--linear", 2)]
)
def test_a_negative_given_twice_is_listed_once(trained, name, flags):
    data, run = trained
    done = script(name, data, "--checkpoint", run, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("hold an item twice") == 1
    check_lists(*direct(run))
    assert name in json.loads((run / "direct.json").read_text())["command"]


def test_baselines_rank_the_same_and_are_compared(trained, tmp_path):
    data, run = trained
    done = script("topn.py", data, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    how = ("--negative_num", 5, "--methods", "popularity,item_knn", "--checkpoint", tmp_path)
    done = script("compare.py", "baselines", data, *how)
    assert done.returncode == 0, done.stderr
    for name in ("toys-popularity", "toys-item_knn"):
        result, rows = direct(tmp_path / name)
        check_lists(result, rows)
        assert result["candidates"] == direct(run)[0]["candidates"]
        done = script("compare.py", "test", run, tmp_path / name, "--tasks", "direct")
        assert done.returncode == 0, done.stderr


def test_explanations_line_up_with_their_records(trained):
    data, run = trained
    done = script("exp.py", data, "--checkpoint", run, "--num_beams", 3)
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, (run / "explanation.jsonl").read_text().splitlines())
    assert (row["user"], row["item"]) == (4, 9)
    assert row["reference"] == "item 9 is nice and warm"


@pytest.mark.parametrize("name", ["seq_reranker.py", "topn.py", "exp.py", "direct.py"])
def test_a_model_version_is_taken_and_another_model_is_named(trained, name):
    data, run = trained
    how = ("--checkpoint", run, "--model_version")
    done = script(name, data, *how, 1)
    assert done.returncode == 0, done.stderr
    said = f"--model_version 1 is t5-base, and the model of --checkpoint {run} is on tiny: "
    assert said in done.stdout
    done = script(name, data, *how, 5)
    assert done.returncode == 2
    assert "--model_version: invalid choice: 5" in done.stderr


@pytest.mark.parametrize("backbone", ["t5-small", "google-t5/t5-small", "models/t5-small/"])
def test_nothing_is_said_of_the_version_that_a_model_has(trained, tmp_path, backbone, capsys):
    data, run = trained
    record = json.loads((run / "run.json").read_text())
    record["arguments"]["backbone"] = backbone
    (tmp_path / "run.json").write_text(json.dumps(record))
    check_folders(str(data), str(tmp_path), "direct", "results of", 0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["seq_reranker.py", "topn.py"])
def test_the_published_search_counts_what_is_no_item(trained, name):
    data, run = trained
    how = ("--checkpoint", run, "--decode", "published", "--batch_size", 3, "--num_beams", 30)
    done = script(name, data, *how)
    assert done.returncode == 0, done.stderr
    task = "direct" if name == "topn.py" else "sequential"
    result = json.loads((run / f"{task}.json").read_text())
    assert result["decode"] == "published"
    assert result["arguments"]["precision"] == "fp32"
    counts = result["published"]
    assert (
        f"published search, {counts['sequences']} sequences: {counts['no_number']} no"
        in done.stdout
    )
    rows = [json.loads(line) for line in (run / f"{task}.jsonl").read_text().splitlines()]
    lost = sum(item == 0 for row in rows for item in row["items"])
    expected = counts["no_item"] + counts["repeated"]
    if task == "direct":  # there, what is no number takes a place too
        assert lost == expected + counts["no_number"]
    else:
        assert lost <= expected
    for row in rows:
        items = [item for item in row["items"] if item]
        assert len(set(items)) == len(items)
        assert all(bool(item) == bool(name) for item, name in zip(row["items"], row["item_ids"]))
    assert script("compare.py", "table", run).returncode == 0  # it is read again


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("topn.py", ("--batch_tokens", 50), "--batch_tokens 50: the published batches hold"),
        ("seq_reranker.py", ("--catalogue",), "--catalogue: the published search ranks a few"),
        ("exp.py", ("--batch_tokens", 50), "--batch_tokens 50: the published batches hold"),
        ("topn.py", ("--num_beams", 4), "--num_beams 4 cannot give 10 items"),
        ("seq_reranker.py", ("--linear", 1), "works with exact ranking alone"),
    ],
)
def test_flags_that_contradict_the_published_search(trained, name, flags, words):
    data, run = trained
    done = script(name, data, "--checkpoint", run, "--decode", "published", *flags)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("flags", "name"), [((), "explanation"), (("--outf", "generated.txt"), "generated")]
)
def test_texts_in_the_published_form(trained, flags, name):
    data, run = trained
    how = ("--checkpoint", run, "--decode", "published", "--num_beams", 3)
    done = script("exp.py", data, *how, *flags)
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, (run / f"{name}.jsonl").read_text().splitlines())
    written = " ".join(row["text"].split())
    assert (run / f"{name}.txt").read_text() == f"{row['reference']}\n{written}\n\n"
    assert not (run / f"{name}.txt.json").exists()


def test_the_first_word_is_read_as_the_published_script_reads_it():
    search = PublishedSearch(lambda rows: [], {7: 1, 20: 2}, 4)
    texts = ["7", "20 7", "07", "x", "", "8", "_7", "-7", "7_", " 7"]
    assert search.read(texts) == [1, 2, -1, 0, 0, -1, 0, -1, 0, 0]
    assert search.misses == (10, 5, 2, 1)
