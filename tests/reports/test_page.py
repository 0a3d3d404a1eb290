"""report.html: the same bytes twice, nothing from elsewhere, no text that becomes markup."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from math import sqrt

import numpy as np
import pytest
import torch

from modules.reports import page as html_report
from modules.reports import plots
from modules.reports.embeddings import project, read_map
from modules.reports.examples import choose
from modules.reports.page import build, write_report
from modules.runs.results import read_run
from modules.tasks import WholeWords
from tests.conftest import ROOT
from utils.errors import UserError
from utils.files import write_json, write_jsonl

NASTY = '<script>alert(1)</script> & "><img src=x onerror=alert(2)> $x^2$'
ARGUMENTS = {
    "method": "elmrec",
    "backbone": "tiny",
    "sigma": 1.5,
    "seed": 3,
    "protocol": "clean",
    "item_ids": "random",
    "tasks": ["sequential", "direct"],
}


def record(**more):
    return {
        "command": "python pretrain.py data/few",
        "arguments": ARGUMENTS,
        "versions": {"torch": "2"},
        "commit": "abc",
        "dataset": "few",
        "held_out_edges_seen": 0,
        "held_out_records_seen": 0,
    } | more


def result(metrics, **more):
    return (
        record(
            users=4,
            protocol="clean",
            item_ids="random",
            decode="exact",
            seed=3,
            candidates="c",
            arguments={"negative_num": 99},
            metrics=metrics,
            training=record(),
        )
        | more
    )


def rows():
    """Ranks 0, none, 4, none; histories of 4, 4, 12, 12 items; targets had by 0, 2, 2, 30."""
    ranks, lengths, popular = [0, None, 4, None], [4, 4, 12, 12], [0, 2, 2, 30]
    return [
        {
            "user": u + 1,
            "user_id": f"U{u + 1}",
            "items": [1, 2, 3, 4, 5],
            "item_ids": ["I1", "I2", "I3", "I4", "I5"],
            "scores": [-1.0, -2.0, -3.0, -4.0, -9.0],
            "target": [1, 9, 5, 9][u],
            "rank": ranks[u],
            "target_id": ["I1", "I9", "I5", "I9"][u],
            "target_users": popular[u],
            "history_length": lengths[u],
            "last_item_ids": ["I6", "I7"],
        }
        for u in range(4)
    ]


@pytest.fixture
def run_folder(tmp_path, model):
    """A run of a real (random) model with results of all tasks, and a baseline beside it."""
    folder = tmp_path / "runs" / "mine"
    model.save_pretrained(folder)
    write_json(folder / "run.json", record())
    log = [
        {"step": 5, "epoch": 1, "train": {"sequential": 4.0}, "samples_per_second": 9.0},
        {"step": 6, "epoch": 1, "valid": {"sequential": 3.5}, "valid_mean": 3.5, "improved": True},
        {"step": 9, "epoch": 2, "valid": {"sequential": 3.9}, "valid_mean": 3.9, "improved": False},
    ]
    write_jsonl(folder / "train_log.jsonl", log)
    metrics = {"HR@1": 0.25, "HR@5": 0.5, "HR@10": 0.5, "NDCG@5": 0.3467, "NDCG@10": 0.3467}
    for task in ("sequential", "direct"):
        write_json(folder / f"{task}.json", result(metrics))
        write_jsonl(folder / f"{task}.jsonl", rows())
    write_json(folder / "explanation.json", result({"BLEU-1": 12.34, "USR": 0.5}))
    told = {"user": 1, "item": 5, "reference": "warm", "text": NASTY}
    write_jsonl(folder / "explanation.jsonl", [told, told | {"user": 3, "item": 11}])
    other = result({**metrics, "HR@10": 0.75}, method="item_knn")
    del other["training"]
    (folder.parent / "few-item_knn").mkdir()
    write_json(folder.parent / "few-item_knn" / "sequential.json", other)
    return folder


class Page(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.texts, self.cells = set(), [], [], []
        self.in_row = False
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "tr":
            self.cells.append([])
            self.in_row = True

    def handle_endtag(self, tag):
        self.in_row &= tag != "tr"

    def handle_data(self, data):
        self.texts.append(data)
        if data.strip() and self.in_row:
            self.cells[-1].append(data)


def page_of(folder, baselines=None):
    return Page(build(read_run(folder, baselines)))


def test_two_builds_are_the_same_bytes(run_folder):
    write_report(run_folder)
    first = (run_folder / "report.html").read_bytes()
    command = [sys.executable, "-m", "modules.training.log", str(run_folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (run_folder / "report.html").read_bytes() == first
    write_json(run_folder / "run.json", record(arguments=ARGUMENTS | {"seed": 4}))
    write_report(run_folder)
    assert (run_folder / "report.html").read_bytes() != first


def test_nothing_is_fetched_and_nothing_runs(run_folder):
    page = page_of(run_folder)
    assert not page.tags & {"script", "link", "iframe", "object", "base"}
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href") or "url(" in (value or ""):
            assert re.match(r"#|data:image/png;base64,|url\(#", value), (tag, name, value)
    source = build(read_run(run_folder, None))
    assert "@import" not in source
    assert not re.search(r"url\((?!#)", source)


def test_ids_are_unique_and_every_reference_has_one(run_folder):
    page = page_of(run_folder)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 0
    wanted = {v[1:] for _, name, v in page.attributes if name == "xlink:href" and v[0] == "#"}
    urls = [value for _, _, value in page.attributes if value and "url(" in value]
    wanted |= {name for value in urls for name in re.findall(r"url\(#([^)]+)\)", value)}
    assert urls
    assert wanted <= set(ids)


def test_text_of_others_stays_text(run_folder):
    lines = rows()
    for row in lines:
        row |= {"user_id": NASTY, "item_ids": [NASTY] * 5, "target_id": NASTY}
        row["last_item_ids"] = [NASTY]
    write_jsonl(run_folder / "sequential.jsonl", lines)
    nasty = record(dataset=NASTY, command=NASTY, commit=NASTY, versions={NASTY: NASTY})
    write_json(run_folder / "run.json", nasty | {"arguments": ARGUMENTS | {"method": NASTY}})
    theirs = {"arguments": {"negative_num": 99, NASTY: NASTY}, "dataset": NASTY}
    for task in ("sequential", "direct"):
        path = run_folder / f"{task}.json"
        write_json(path, json.loads(path.read_text()) | theirs | {"method": NASTY})
    page = page_of(run_folder)
    assert not page.tags & {"script", "img"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    text = "".join(page.texts)
    assert text.count(NASTY) > 20
    assert "Content-Security-Policy" in [value for _, _, value in page.attributes]


def test_the_table_of_results(run_folder):
    cells = page_of(run_folder).cells
    own = ["ELMRec (this run)", ".2500", ".5000", ".5000", ".3467", ".3467"]
    assert cells.count(own) == 2  # sequential and direct
    assert ["item-kNN", ".2500", ".5000", ".7500", ".3467", ".3467"] in cells
    assert ["BLEU-1", "12.34"] in cells


def test_baselines_by_hand_and_of_other_candidates(run_folder, tmp_path):
    path = run_folder.parent / "few-item_knn" / "sequential.json"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_json(elsewhere / "sequential.json", json.loads(path.read_text()) | {"candidates": "d"})
    cells = page_of(run_folder, [elsewhere]).cells
    assert [c[0] for c in cells if c and c[0].startswith("item-kNN")] == ["item-kNN*"]
    assert [c[0] for c in page_of(run_folder).cells if c and "kNN" in c[0]] == ["item-kNN"]
    with pytest.raises(UserError, match="no results of a baseline on 'few'"):
        read_run(run_folder, [run_folder])
    with pytest.raises(UserError, match="no such folder"):
        read_run(run_folder, [tmp_path / "none"])


def test_baselines_above_the_run_are_named(run_folder):
    path = run_folder.parent / "few-item_knn" / "sequential.json"
    said = "Simple models above this run in NDCG@10: "
    assert said not in "".join(page_of(run_folder).texts)  # as good, and no better
    other = json.loads(path.read_text()) | {"item_ids": "published"}
    other["metrics"]["NDCG@10"] = 0.4
    write_json(path, other)
    assert said + "item-kNN (published numbers)." in "".join(page_of(run_folder).texts)


def test_places_of_a_run_that_went_on(run_folder):
    resumed = [{"step": 1200}, {"step": 2}]
    write_json(run_folder / "run.json", record(resumed=resumed, commit="abc+"))
    text = "".join(page_of(run_folder).texts)
    assert "Resumed at step 1,200, 2." in text
    assert "abc, and changes that were not committed" in text


def test_what_a_model_was_chosen_by(run_folder):
    page = page_of(run_folder)
    assert "of step 6, with a mean validation loss of 3.5000." in "".join(page.texts)
    log = [json.loads(line) for line in (run_folder / "train_log.jsonl").open()]
    for line, (hits, gain) in zip(log[1:], [(0.5, 0.25), (0.4, 0.2)]):
        line["metrics"] = {"direct HR@10": hits, "direct NDCG@10": gain}
    write_jsonl(run_folder / "train_log.jsonl", log)
    page = page_of(run_folder)
    assert "step 6, the best by the ranking of validation users: direct NDCG@10 .2500." in "".join(
        page.texts
    )
    shown = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert {f"direct: validation users: {name}@10" for name in ("HR", "NDCG")} < set(shown)


def test_a_record_that_lacks_something(run_folder):
    whole = record()
    del whole["versions"]
    write_json(run_folder / "run.json", whole)
    with pytest.raises(UserError, match=r"run\.json: holds no 'versions'"):
        write_report(run_folder)
    write_json(run_folder / "run.json", [1])
    with pytest.raises(UserError, match=r"run\.json: holds no 'dataset', 'command'"):
        write_report(run_folder)
    write_json(run_folder / "run.json", record())
    write_json(run_folder / "direct.json", {"metrics": {"HR@1": 0.5}})
    with pytest.raises(UserError, match=r"direct\.json: holds no 'dataset'.*'users'"):
        write_report(run_folder)


def test_an_imported_model_has_no_backbone_of_ours(run_folder):
    own = {key: value for key, value in ARGUMENTS.items() if key != "backbone"}
    write_json(run_folder / "run.json", record(arguments=own))
    text = "".join(page_of(run_folder).texts)
    assert "ELMRec on an imported T5; α 2, σ 1.5, L 2, K 3" in text


def test_published_figures_are_marked(run_folder):
    for name in ("run", "sequential", "direct", "explanation"):
        path = run_folder / f"{name}.json"
        write_json(path, json.loads(path.read_text()) | {"dataset": "beauty"})
    page = page_of(run_folder)
    (found,) = [c for c in page.cells if c[:1] == ["POD (published)"] and ".0235" in c]
    assert found[1:] == [".0235", ".0537", ".0688", ".0395", ".0443"]
    assert "not to be held against protocol clean" in "".join(page.texts)


def test_breakdowns_by_hand(run_folder, monkeypatch):
    drawn = {}

    def catch(title, bars, label):
        drawn[title] = bars
        return "<svg></svg>"

    monkeypatch.setattr(plots, "bars", catch)
    build(read_run(run_folder, None))
    bars = drawn["sequential, by items before the test item"]
    assert [(b.label, b.value) for b in bars] == [("0-4", 0.5), ("10-19", 0.5)]
    # Wilson, n = 2, p = 1/2: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    z = 1.959963984540054
    middle, half = 0.5 + z * z / 4, z * sqrt(0.125 + z * z / 16)
    assert bars[0].low == pytest.approx((middle - half) / (1 + z * z / 2))
    assert bars[0].high == pytest.approx((middle + half) / (1 + z * z / 2))
    bars = drawn["direct, by train users of the test item"]
    assert [(b.label, b.value) for b in bars] == [("0", 1.0), ("1-4", 0.5), ("20-99", 0.0)]
    assert [b.note for b in bars] == ["1.0000 (1)", ".5000 (2)", ".0000 (1)"]


def test_embeddings_are_the_models_own(run_folder, model):
    found = read_map(run_folder, seed=0)
    with torch.no_grad():
        tables = model.nodes.weight.numpy(), model.whole_word_table(WholeWords.GRAPH).numpy()
    n = model.config.n_users + model.config.n_items
    assert found.nodes == len(found.degrees) == n  # few enough that all are shown
    for table, view in zip(tables, (found.before, found.after)):
        centred = table[1:] - table[1:].mean(axis=0)
        values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
        assert view.shares == pytest.approx(values[:-3:-1] / values.sum(), rel=1e-4)
        expected = centred @ vectors[:, :-3:-1]
        assert np.abs(view.points) == pytest.approx(np.abs(expected), abs=1e-4)
    crow = model.graph_crow.numpy()
    assert found.degrees.tolist() == np.diff(crow)[1:].tolist()
    assert found.is_item.sum() == model.config.n_items


def test_axes_have_a_direction():
    vectors = np.random.default_rng(0).normal(size=(30, 5))
    assert project(vectors).points == pytest.approx(project(vectors.copy()).points)
    assert project(-vectors).points == pytest.approx(-project(vectors).points)


def test_a_sample_of_many_nodes(monkeypatch, run_folder):
    monkeypatch.setattr("modules.reports.embeddings.SAMPLE", 3)
    found = read_map(run_folder, seed=0)
    assert found.is_item.tolist() == [False] * 3 + [True] * 3
    other = read_map(run_folder, seed=1)
    assert not np.array_equal(found.before.points, other.before.points)


def test_examples_are_drawn_and_hits_are_other_people():
    pool = [{"user": u, "rank": 0 if u % 2 else None} for u in range(40)]
    drawn, hits = choose(pool, np.random.default_rng(0))
    assert (len(drawn), len(hits)) == (4, 2)
    assert all(row["rank"] == 0 for row in hits)
    assert not {row["user"] for row in drawn} & {row["user"] for row in hits}


def test_examples_tell_hit_history_and_reason(run_folder):
    text = "".join(page_of(run_folder).texts)
    assert "I1, number 1 of the list" in text
    assert "I5, number 5 of the list" in text
    assert "U2" not in text  # no explanation of this user, whereas others have one
    assert "Why I5, as generated" in text
    assert "Why item 11, as generated" in text  # an item of no list has no name here
    assert "36.8 %" in text  # e^-1
    assert "0.012 %" in text  # e^-9
    assert "2 more, then" in text


@pytest.mark.parametrize("change", [{"decode": "beam"}, {"arguments": {"linear": 100.0}}])
def test_scores_that_are_no_probabilities_are_left_out(run_folder, change):
    path = run_folder / "sequential.json"
    assert "36.8 %" in "".join(page_of(run_folder).texts)
    write_json(path, json.loads(path.read_text()) | change)
    assert "36.8 %" not in "".join(page_of(run_folder).texts)


def test_what_training_saw_and_what_is_stale_is_said(run_folder):
    assert "warning" not in [v for _, n, v in page_of(run_folder).attributes if n == "class"]
    write_json(run_folder / "run.json", record(held_out_edges_seen=1234))
    assert "saw: 1,234 as edges" in "".join(page_of(run_folder).texts)
    for since in ({"arguments": ARGUMENTS | {"sigma": 9}}, {"resumed": [{"step": 9}]}):
        write_json(run_folder / "run.json", record(**since))
        text = "".join(page_of(run_folder).texts)
        assert text.count("Not of the model that lies in this folder now") == 3
    for task in ("sequential", "direct", "explanation"):
        path = run_folder / f"{task}.json"
        of_this = {"training": record(resumed=[{"step": 9}])}
        write_json(path, json.loads(path.read_text()) | of_this)
    assert "Not of the model" not in "".join(page_of(run_folder).texts)


def test_parts_of_a_run(run_folder, tmp_path):
    text = "".join(page_of(run_folder.parent / "few-item_knn").texts)
    assert "item-kNN on few" in text
    assert "Training" not in text
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(UserError, match=re.escape("neither run.json nor sequential.json")):
        write_report(bare)
    write_json(bare / "run.json", record())
    text = "".join(page_of(bare).texts)
    assert "What was run" in text
    assert "Results" not in text


def test_damaged_weights_are_named(run_folder):
    path = run_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="damaged or cut short"):
        html_report.write_report(run_folder)
