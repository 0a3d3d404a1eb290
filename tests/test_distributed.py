"""Two processes against one: the same losses, the same metrics, every user once."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import process, script, start
from utils import distributed

DEMO = "data/demo"
# Dropout draws differ between processes; without it the losses must be the same.
COMMON = [
    DEMO,
    "--preset",
    "readme",
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


def alone(name: str, *args: object) -> str:
    """Standard output of one process."""
    done = script(name, *args)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def together(folder: Path, name: str, *args: object) -> str:
    """Standard output of two processes that find each other by what torchrun would tell them; a
    file in ``folder`` for each."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1], "WORLD_SIZE": 2}
    outputs = [folder / f"rank{rank}.out" for rank in (0, 1)]
    ranks = [
        start(name, *args, output=output, RANK=rank, LOCAL_RANK=rank, **where)
        for rank, output in enumerate(outputs)
    ]
    try:
        for rank, output in zip(ranks, outputs):
            rank.join(timeout=300)
            assert rank.exitcode == 0, output.with_suffix(".err").read_text()[-3000:]
    finally:
        for rank in ranks:  # one that waits for another which has failed
            rank.kill()
    return "".join(output.read_text() for output in outputs)


def torchrun(folder: Path, name: str, *args: object) -> str:
    """The same by torchrun, which starts new processes."""
    done = process("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", name, *args)
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
    alone("pretrain.py", *COMMON, "--batch_size", 16, "--checkpoint", folder)
    return folder


@pytest.mark.parametrize(
    ("launch", "how"),
    [
        (torchrun, ["--batch_size", 8]),
        (together, ["--batch_size", 4, "--accumulate", 2, "--batch_tokens", 90]),
        (together, ["--batch_size", 8, "--shard"]),
    ],
    ids=["by torchrun", "accumulated, cut by tokens", "sharded"],
)
def test_two_processes_learn_what_one_learns(launch, how, one, tmp_path):
    run = tmp_path / "run"
    launch(tmp_path, "pretrain.py", *COMMON, *how, "--checkpoint", run)
    for found, expected in zip(losses(run), losses(one)):
        assert len(found) == len(expected) > 0
        # float32 sums in another order, grown by AdamW over twelve steps
        np.testing.assert_allclose(found, expected, rtol=2e-3)
    # What sharded or several processes wrote, one process reads.
    alone("topn.py", DEMO, "--checkpoint", run, "--limit_users", 5)
    assert len((run / "direct.jsonl").read_text().splitlines()) == 5


def test_a_sharded_run_is_resumed(tmp_path):
    """Stopped after eight steps and continued: the weights and the log of one that was not."""
    how = ["pretrain.py", *COMMON, "--batch_size", 8, "--shard", "--checkpoint"]
    together(tmp_path, *how, tmp_path / "whole")
    together(tmp_path, *how, tmp_path / "stopped", "--max_steps", 8)
    together(tmp_path, *how, tmp_path / "stopped", "--resume")
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("stopped", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    ours, theirs = (losses(tmp_path / name)[0] for name in ("stopped", "whole"))
    assert ours == pytest.approx(theirs, abs=1e-5)  # rounded to five digits


@pytest.mark.parametrize(
    ("name", "stem"),
    [("seq_reranker", "sequential"), ("topn", "direct"), ("exp", "explanation")],
)
def test_two_processes_evaluate_to_the_same_figures(name, stem, one, tmp_path):
    """An odd number of users, so that the parts are uneven."""
    command = (f"{name}.py", DEMO, "--checkpoint", one, "--limit_users", 33)
    results = []
    for run in (lambda: alone(*command), lambda: together(tmp_path, *command)):
        run()
        metrics = json.loads((one / f"{stem}.json").read_text())["metrics"]
        results.append((metrics, (one / f"{stem}.jsonl").read_text()))
    assert results[0] == results[1]  # to the last bit, every user once, in user order
    assert len(results[0][1].splitlines()) == 33


def test_two_processes_recommend_what_one_does(one, tmp_path):
    users = tmp_path / "users.txt"
    users.write_text("".join(f"demo-user-{n:03}\n" for n in range(1, 22)))
    command = ("recommend.py", DEMO, "--checkpoint", one, "--users_file", users, "--json")
    found = alone(*command, "--explain", 1)
    assert together(tmp_path, *command, "--explain", 1) == found  # and each line once
    assert [json.loads(line)["user_id"][-3:] for line in found.splitlines()] == [
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
