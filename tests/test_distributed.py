"""Two processes against one: the same losses, the same metrics, every user once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modules.training.validation import validation_losses  # noqa: F401  imports torch once, before forking
from tests.conftest import ROOT
from utils import distributed

DEMO = "data/demo"
# Dropout draws differ between processes; without it the losses must be the same.
COMMON = [
    DEMO,
    "--backbone",
    "tiny",
    "--negative_num",
    "9",
    "--precision",
    "fp32",
    "--dropout",
    "0",
]
COMMON += ["--optimizer", "adamw", "--max_steps", "12", "--log_interval", "3"]
COMMON += ["--valid_samples", "41"]  # odd: one process has a sample more than the other


def run(script: str, *args: object, processes: int = 1) -> str:
    """Its standard output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [*launch, script, *map(str, args)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def losses(folder: Path) -> tuple[list[float], list[float]]:
    """Training losses of each interval, and validation losses."""
    lines = [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]
    train = [loss for line in lines for loss in line.get("train", {}).values()]
    return train, [loss for line in lines for loss in line.get("valid", {}).values()]


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """A run of one process, 16 samples a step."""
    folder = tmp_path_factory.mktemp("one")
    run("pretrain.py", *COMMON, "--batch_size", 16, "--checkpoint", folder)
    return folder


@pytest.mark.parametrize(
    "how",
    [
        ["--batch_size", 8],
        ["--batch_size", 4, "--accumulate", 2, "--batch_tokens", 90],
        ["--batch_size", 8, "--shard"],
    ],
    ids=["two processes", "accumulated, cut by tokens", "sharded"],
)
def test_two_processes_learn_what_one_learns(how, one, tmp_path):
    run("pretrain.py", *COMMON, *how, "--checkpoint", tmp_path, processes=2)
    for found, expected in zip(losses(tmp_path), losses(one)):
        assert len(found) == len(expected) > 0
        # float32 sums in another order, grown by AdamW over twelve steps
        np.testing.assert_allclose(found, expected, rtol=2e-3)
    # What sharded or several processes wrote, one process reads.
    run("topn.py", DEMO, "--checkpoint", tmp_path, "--limit_users", 21)
    rows = (tmp_path / "direct.jsonl").read_text().splitlines()
    assert len(rows) == 21


@pytest.mark.parametrize(
    ("script", "stem"),
    [("seq_reranker", "sequential"), ("topn", "direct"), ("exp", "explanation")],
)
def test_two_processes_evaluate_to_the_same_figures(script, stem, one, tmp_path):
    """101 users: an odd number, so that the parts are uneven."""
    results = []
    for processes in (1, 2):
        args = [DEMO, "--checkpoint", one, "--limit_users", 101]
        run(f"{script}.py", *args, processes=processes)
        result = json.loads((one / f"{stem}.json").read_text())
        results.append((result["metrics"], (one / f"{stem}.jsonl").read_text()))
    assert results[0] == results[1]  # to the last bit, every user once, in user order
    rows = [json.loads(line) for line in results[0][1].splitlines()]
    assert len(rows) == 101


def test_two_processes_recommend_what_one_does(one, tmp_path):
    users = tmp_path / "users.txt"
    users.write_text("".join(f"demo-user-{n:03}\n" for n in range(1, 22)))
    args = [DEMO, "--checkpoint", one, "--users_file", users, "--json", "--explain", 1]
    alone, together = (run("recommend.py", *args, processes=n) for n in (1, 2))
    assert alone == together  # and each line once
    assert [json.loads(line)["user_id"][-3:] for line in alone.splitlines()] == [
        f"{n:03}" for n in range(1, 22)
    ]


def test_parts_cover_everything_once(monkeypatch):
    for total, world in ((0, 3), (1, 3), (7, 2), (9, 3), (10, 4)):
        monkeypatch.setattr(distributed, "world_size", lambda world=world: world)
        parts, even = [], []
        for rank in range(world):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            parts += list(distributed.own_part(total))
            even.append(len(distributed.own_part(total, even=True)))
        assert sorted(parts) == list(range(total))
        assert len(set(even)) == 1
