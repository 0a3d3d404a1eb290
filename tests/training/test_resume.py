"""Killed, stopped, damaged: a resumed run ends with the weights of one that nothing interrupted."""

import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from multiprocessing import Process
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modules.training.claim import check_same_run, claim_folder, saved_states
from modules.training.resume import load_state
from modules.training.settings import Settings
from tests.conftest import Done, script, start
from tests.conftest import write_folder as write_data
from utils.errors import UserError
from utils.json_files import read_json

# Short epochs and a save nearly every step, so that many moments are inside of a save.
RUN = ["--backbone", "tiny", "--negative_num", "5", "--batch_size", "2", "--epochs", "9"]
RUN += ["--log_interval", "5", "--save_minutes", "0.0001", "--graph_every", "3"]


def command(folder: Path) -> list[object]:
    """A run in ``folder``, on data that lie beside it."""
    data = folder.with_name("few")
    if not data.exists():
        write_data(data)
    return ["pretrain.py", data, *RUN, "--checkpoint", folder]


def finish(folder: Path, *more: str, code: int = 0) -> Done:
    """The run in this process, to its end."""
    done = script(*command(folder), *more)
    assert done.returncode == code, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done


def begin(folder: Path, *more: str) -> Process:
    """The run in a process of its own; what it prints is in a file beside its folder."""
    return start(*command(folder), *more, output=folder.with_suffix(".out"))


def resume_flag(folder: Path) -> list[str]:
    """A run that was killed before its first state has nothing to continue."""
    return ["--resume"] if (folder / "run.json").exists() else []


def assert_same_run(found: Path, expected: Path) -> None:
    """Weights of the last state and of the best model, and the log, to the bit."""
    ours, theirs = (load_file(saved_states(f)[-1] / "state.safetensors") for f in (found, expected))
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert torch.equal(ours[name], theirs[name]), name
    ours, theirs = (load_file(f / "model.safetensors") for f in (found, expected))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    logs = []
    for folder in (found, expected):
        lines = [json.loads(x) for x in (folder / "train_log.jsonl").read_text().splitlines()]
        logs.append([{k: v for k, v in x.items() if k != "samples_per_second"} for x in lines])
    assert logs[0] == logs[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(folder)
    return folder


def kill_and_resume(folder: Path, rng: random.Random, kills: int) -> tuple[int, int]:
    """SIGKILL at random moments after the first state, every second time as soon as a save is seen;
    how many hit a running process, and how many of these were inside of a save."""
    hit = inside = 0
    for kill in range(kills):
        before = set(saved_states(folder))
        process = begin(folder, *resume_flag(folder))
        deadline = time.monotonic() + 60
        while process.is_alive() and time.monotonic() < deadline:
            saving = bool(list((folder / "state").glob(".*.tmp")))
            if saving or (kill % 2 and set(saved_states(folder)) - before):
                break  # training has begun
            time.sleep(0.001)
        if kill % 2:
            time.sleep(rng.uniform(0, 0.05))
        hit += process.is_alive()
        process.kill()
        process.join()
        inside += bool(list((folder / "state").glob(".*.tmp")))  # written aside, not yet renamed
    return hit, inside


@pytest.mark.parametrize("kills", [3, pytest.param(24, marks=pytest.mark.slow)])
def test_killed_at_random_moments(kills, whole, tmp_path) -> None:
    folder = tmp_path / "killed"
    hit, inside = kill_and_resume(folder, random.Random(kills), kills)
    assert hit >= kills * 2 // 3
    assert inside or kills < 20
    finish(folder, *resume_flag(folder))
    assert_same_run(folder, whole)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_the_step_saves_and_prints_how_to_resume(name, code, whole, tmp_path) -> None:
    folder = tmp_path / "stopped"
    process = begin(folder)
    while process.is_alive() and len(saved_states(folder)) < 2:
        time.sleep(0.005)
    os.kill(process.pid, getattr(signal, name))
    process.join()
    output = folder.with_suffix(".out").read_text()
    assert process.exitcode == code, output
    assert "interrupted after" in output
    assert "--resume" in output
    finish(folder, "--resume")
    assert_same_run(folder, whole)


def test_a_damaged_state_is_named_and_the_one_before_offered(whole, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    older, newest = saved_states(folder)
    step = int(older.name.removeprefix("step-"))
    content = (newest / "state.safetensors").read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b"", content[:-9] + b"x" * 9):
        (newest / "state.safetensors").write_bytes(damaged)
        with pytest.raises(UserError) as caught:
            load_state(folder, None, "last")
        assert f"{newest}/state.safetensors is damaged or cut short" in str(caught.value)
        assert f"--resume {step}" in str(caught.value)
    (newest / "state.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        load_state(folder, None, "last")
    finish(folder, "--resume", str(step))
    assert_same_run(folder, whole)


def test_what_may_not_change_when_a_run_is_resumed(whole, tmp_path) -> None:
    with pytest.raises(UserError, match=r"holds a run, at step 54\. --resume"):
        claim_folder(Settings(checkpoint=str(whole)))
    assert claim_folder(Settings(checkpoint=str(whole), overwrite=True)) is None
    assert claim_folder(Settings(checkpoint=str(tmp_path / "new"))) is None
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        claim_folder(Settings(checkpoint=str(tmp_path / "file")))
    before = read_json(whole / "run.json")["arguments"]
    check_same_run(before, {**before, "epochs": 9, "resume": "last", "of_a_later_version": 1})
    same = replace(Settings(**before), checkpoint=str(whole), resume="53")
    assert claim_folder(same) == "53"
    assert claim_folder(replace(same, alpha=None, precision=None)) == "53"  # as by default
    with pytest.raises(UserError, match=r"--resume 3: .* holds no such step, but 53, 54"):
        claim_folder(replace(same, resume="3"))
    with pytest.raises(UserError, match="--seed is 7, but the run was started with 0"):
        claim_folder(replace(same, seed=7))
    with pytest.raises(UserError, match=r"--lr is 0\.5, but the run was started with 0\.02"):
        check_same_run(before, {**before, "lr": 0.5})
    with pytest.raises(UserError, match="holds no such step, but"):
        load_state(whole, None, "5")
    with pytest.raises(UserError, match="holds no training state"):
        load_state(tmp_path, None, "last")
    assert "none: no such folder" in finish(tmp_path / "none", "--resume", code=2).stderr


def test_a_longer_run_continues_a_shorter_one(whole, tmp_path) -> None:
    """--max_steps ends a run within an epoch; its extra validation leaves no trace in the state."""
    folder = tmp_path / "run"
    finish(folder, "--max_steps", "8")
    finish(folder, "--resume")
    states = [load_file(saved_states(f)[-1] / "state.safetensors") for f in (folder, whole)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert len(read_json(folder / "run.json")["resumed"]) == 1
