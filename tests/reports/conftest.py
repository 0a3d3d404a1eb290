"""A made-up run's folder, and its page."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from modules.reports import plots
from modules.reports.page import build
from modules.reports.sources import read_results
from modules.runs.record import read_record
from modules.runs.writing import write_results
from tests.pages import Page
from tests.reports.hostile import READERS, read
from utils.json_files import write_json, write_jsonl

NASTY = '<script>alert(1)</script> & "><img src=x onerror=alert(2)> $x^2$'
ARGUMENTS = {
    "method": "elmrec",
    "backbone": "tiny",
    "sigma": 1.5,
    "seed": 3,
    "protocol": "clean",
    "item_ids": "random",
    "tasks": ["sequential", "direct"],
    "negative_num": 99,
    "exp_len": 20,
    "preset": "readme",
}
FINGERPRINTS = {"sequential.txt": "a" * 64, "datamaps.json": "b" * 64}


def record(**more):
    return {
        "command": "python pretrain.py data/few",
        "arguments": ARGUMENTS,
        "versions": {"torch": "2"},
        "commit": "abc",
        "dataset": "few",
        "held_out_edges_seen": 0,
        "held_out_records_seen": 0,
        "fingerprints": FINGERPRINTS,
        "files": {},
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
    """Ranks 0, none, 4, none; histories of 4, 4, 12, 12 items; targets of 0, 2, 2, 30 users."""
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
    write_json(folder / "explanation.json", result({"BLEU-1": 12.34, "USR": 1.0}, users=2))
    text = {"user": 1, "item": 5, "reference": "warm", "text": NASTY}
    write_jsonl(folder / "explanation.jsonl", [text, text | {"user": 3, "item": 11}])
    other = result({**metrics, "HR@10": 0.75}, method="item_knn", title="item-kNN")
    del other["training"]
    (folder.parent / "few-item_knn").mkdir()
    write_json(folder.parent / "few-item_knn" / "sequential.json", other)
    return folder


@pytest.fixture
def no_drawing(monkeypatch):
    """Plots have names and no images: these take longer than all the rest."""
    monkeypatch.setattr(plots, "_plot", lambda alt, draw, height: plots.Plot(alt, "data:,"))


def change(path, **entries):
    """Replace entries of a JSON file."""
    write_json(path, json.loads(path.read_text()) | entries)


def page_of(folder, baselines=None):
    return Page(build(read_results(folder, baselines)))


@pytest.fixture(scope="session")
def whole(trained_once, tmp_path_factory):
    """``data``; ``run``, evaluated in all tasks; ``other``, the same; a baseline beside them. The
    weights hold no checksums, as another program would write them."""
    base = tmp_path_factory.mktemp("hostile") / "base"
    shutil.copytree(trained_once, base)
    weights = base / "run" / "model.safetensors"
    save_file(load_file(weights), weights)
    record = read_record(base / "run").as_json()
    known = {"dataset": "data", "run_id": record["run_id"], "training": record}
    known |= {"fingerprints": record["fingerprints"], "arguments": {"top_n": 10, "linear": 0.0}}
    groups = [{"low": 0, "high": None, "users": 4, "hr": 0.5, "ndcg": 0.5}]
    catalogue = {"metrics": {"HR@1": 0.5, "MRR@1": 0.5}, "coverage@10": 0.5}
    catalogue |= dict.fromkeys(("by_history_length", "by_item_popularity"), groups)
    metrics = {"HR@1": 0.25, "HR@5": 0.5, "HR@10": 0.5, "NDCG@5": 0.3, "NDCG@10": 0.3}
    for task in ("sequential", "direct"):
        evaluated = result(metrics, **known, catalogue=catalogue)
        write_results(base / "run", task, evaluated, rows())
    text = {"user": 1, "item": 5, "reference": "warm", "text": "nice"}
    write_results(base / "run", "explanation", result({"USR": 1.0}, **known, users=1), [text])
    shutil.copytree(base / "run", base / "other")
    baseline = result(metrics, **known, method="item_knn")
    del baseline["training"], baseline["run_id"]
    write_results(base / "data-item_knn", "sequential", baseline, rows())
    for name in READERS:
        assert not read(name, base).startswith("UserError"), read(name, base)
    return base
