"""Killed, stopped, damaged: a resumed run ends with the weights of one that nothing interrupted."""

import itertools
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Process
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modules.runs.record import read_record
from modules.training.claim import check_same_run, claim_folder, saved_states, step_of
from modules.training.resume import trim_log
from modules.training.settings import Settings
from modules.training.states import check_state, load_state
from tests.conftest import TINY, Done, script, start
from tests.conftest import write_folder as write_data
from utils.errors import UserError
from utils.files import aside_of
from utils.json_files import read_json, write_json

# Short epochs and a save nearly every step, so that many moments are inside of a save.
RUN = [
    *TINY,
    "--epochs",
    "9",
]
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


def damaged_copies(state: Path) -> Iterator[str]:
    """Damage a state in one way after another; what is wrong with it."""
    tensors, values = state / "state.safetensors", state / "state.json"
    content, text = tensors.read_bytes(), values.read_text()
    for damage in (content[:-1], content[: len(content) // 2], b"", content[:-9] + b"x" * 9):
        tensors.write_bytes(damage)
        yield "damaged or cut short"
    tensors.unlink()
    yield "no such file"
    tensors.write_bytes(content)
    counters = ("step", "nth", "epoch", "endured", "skipped")
    for name, value in itertools.product(counters, (5, -1, 10**30, 0.5, "x", None)):
        table = json.loads(text)
        table["values"][name] = value
        values.write_text(json.dumps(table))
        yield "state.json"
    for cut in ("{", "", "[]", "5", text.replace("values", "value")):
        values.write_text(cut)
        yield "state.json"
    values.write_text(text)


def test_the_newest_good_state_is_taken(whole, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    older, newest = saved_states(folder)
    run_id = read_record(folder).run_id
    for problem in damaged_copies(newest):
        with pytest.raises(UserError, match=problem):
            check_state(newest, run_id)
    check_state(newest, run_id)
    (newest / "state.safetensors").write_bytes(b"")
    newest.with_name("step-99999999").mkdir()  # neither is a state by its name alone
    shutil.copytree(older, newest.with_name("step-00000099"))
    done = finish(folder, "--resume")
    assert f"continuing from step {step_of(older)}" in done.stdout
    assert done.stdout.count("It is not used") == 3
    assert_same_run(folder, whole)


def test_a_step_that_is_named_is_taken_or_refused(whole, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    older, newest = saved_states(folder)
    (newest / "state.safetensors").write_bytes(b"")
    done = finish(folder, "--resume", str(step_of(newest)), code=2)
    assert f"--resume {step_of(older)}" in done.stderr
    (older / "state.json").write_text("{}")
    assert "Start anew" in finish(folder, "--resume", code=2).stderr


def test_a_state_of_another_run_is_not_taken(whole, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    record = read_json(folder / "run.json") | {"run_id": "0" * 16}
    write_json(folder / "run.json", record)
    assert "of another run than run.json" in finish(folder, "--resume", code=2).stderr


def test_what_lies_beside_the_states_is_left_alone(whole, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    newest = saved_states(folder)[-1]
    others = ("step-00000006.bak", "step-abc", "step-", "step-6 (copy)", "step-6", ".x.tmp")
    for name in others:
        shutil.copytree(newest, newest.with_name(name))
    newest.with_name("notes").write_text("mine")
    newest.with_name("step-00000007").write_text("a file")
    finish(folder, "--resume")
    assert_same_run(folder, whole)
    left = {path.name for path in newest.parent.iterdir()}
    assert left == {*others, "notes", "step-00000007", *(p.name for p in saved_states(whole))}


def test_a_state_that_is_there_and_whole_is_not_written_again(whole, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    before = {path: path.stat().st_ino for path in (folder / "state").rglob("*")}
    finish(folder, "--resume")
    assert {path: path.stat().st_ino for path in (folder / "state").rglob("*")} == before


def test_strays_of_killed_processes_are_swept(whole, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    aside_of(folder / "model.safetensors").write_bytes(b"half")
    aside_of(saved_states(folder)[-1]).mkdir()
    os.replace(saved_states(folder)[-1], aside_of(saved_states(folder)[-1], ".old"))
    finish(folder, "--resume")
    assert_same_run(folder, whole)
    names = {path.name for path in folder.rglob("*")}
    assert names == {path.name for path in whole.rglob("*")}


@pytest.mark.parametrize(
    "tail", [b"\0" * 100 + b"\n", b"[1]\n", b"{}\n", b"5\n", b'{"step": "\xe9"}\n', b'{"step": 9']
)
def test_a_log_that_ends_in_rubbish_is_read_up_to_it(tail, whole, tmp_path) -> None:
    log = tmp_path / "train_log.jsonl"
    good = (whole / "train_log.jsonl").read_bytes()
    log.write_bytes(good + tail)
    trim_log(log, 10**9, validated=True)
    assert log.read_bytes() == good


def test_a_log_that_is_no_file_is_an_error(whole, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(UserError, match="must be a file"):
            trim_log(tmp_path / name, 5, validated=True)


def claim(settings: Settings) -> str | None:
    """What a start in the folder would continue from."""
    with claim_folder(settings) as step:
        return step


def test_what_may_not_change_when_a_run_is_resumed(whole, tmp_path) -> None:
    with pytest.raises(UserError, match=r"holds a run, at step 54\. --resume"):
        claim(Settings(checkpoint=str(whole)))
    assert claim(Settings(checkpoint=str(whole), overwrite=True)) is None
    assert claim(Settings(checkpoint=str(tmp_path / "new"))) is None
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        claim(Settings(checkpoint=str(tmp_path / "file")))
    before = read_json(whole / "run.json")["arguments"]
    check_same_run(before, {**before, "epochs": 9, "resume": "last", "of_a_later_version": 1})
    same = replace(Settings(**before), checkpoint=str(whole), resume="53")
    assert claim(same) == "53"
    assert claim(replace(same, alpha=None, precision=None)) == "53"  # as by default
    with pytest.raises(UserError, match=r"--resume 3: .* holds no such step, but 53, 54"):
        claim(replace(same, resume="3"))
    with pytest.raises(UserError, match="--seed is 7, but the run was started with 0"):
        claim(replace(same, seed=7))
    with pytest.raises(UserError, match=r"--lr is 0\.5, but the run was started with 0\.02"):
        check_same_run(before, {**before, "lr": 0.5})
    with pytest.raises(UserError, match="holds no such step, but"):
        load_state(whole, None, "5", "")
    with pytest.raises(UserError, match="holds no training state"):
        load_state(tmp_path, None, "last", "")
    assert "none: no such folder" in finish(tmp_path / "none", "--resume", code=2).stderr


def test_a_run_of_an_older_version_goes_on_with_its_own_edges_in_the_graph(whole, tmp_path):
    folder = tmp_path / "run"
    finish(folder, "--max_steps", "2")
    record = read_json(folder / "run.json")
    del record["arguments"]["own_edges"]
    write_json(folder / "run.json", record)
    refused = finish(folder, "--resume", code=2).stderr
    assert "--own_edges is drop, but the run was started with keep" in refused
    finish(folder, "--resume", "--max_steps", "3", "--own_edges", "keep")
    assert read_json(folder / "config.json")["elmrec"]["own_edges"] == "keep"


def test_a_longer_run_continues_a_shorter_one(whole, tmp_path) -> None:
    """--max_steps ends a run within an epoch; its extra validation leaves no trace in the state."""
    folder = tmp_path / "run"
    finish(folder, "--max_steps", "8")
    finish(folder, "--resume")
    states = [load_file(saved_states(f)[-1] / "state.safetensors") for f in (folder, whole)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert len(read_json(folder / "run.json")["resumed"]) == 1
