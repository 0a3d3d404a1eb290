"""Whose folder: what pretrain.py starts in, and what it leaves alone."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modules.training.claim import claim_folder
from modules.training.settings import Settings
from tests.conftest import ROOT, TINY, script, start
from tests.conftest import write_folder as write_data
from utils import distributed
from utils.errors import UserError
from utils.files import aside_of
from utils.json_files import read_json, read_jsonl

RUN = [
    *TINY,
    "--log_interval",
    1,
]


def claim(settings: Settings) -> str | None:
    """What a start in the folder would continue from."""
    with claim_folder(settings) as step:
        return step


def put(folder: Path, *names: str) -> Path:
    """A folder of somebody's own."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"my {name}")
    return folder


THEIRS = (
    ["thesis.txt"],
    ["state/thesis.txt"],
    ["tensorboard/x", "explanation.json", "README.md", "report.html"],
    ["config.json", "model.safetensors", "tokenizer.json"],
    ["sequential.txt", "datamaps.json", "explanation.json", "negative.txt"],
    [".hidden"],
    [".x.tmp"],
    [".elmrec.lock", "notes"],
    ["run.json", "thesis.txt"],
    ["sub/run.json"],
)


@pytest.mark.parametrize("names", THEIRS, ids=lambda names: names[0])
@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": "last"}, {"resume": "6"}])
def test_a_folder_of_somebodys_own_is_left_alone(names, flags, tmp_path) -> None:
    folder = put(tmp_path / "mine", *names)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(UserError, match="mine"):
        claim(Settings(checkpoint=str(folder), **flags))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert all(path.is_dir() or path.read_text().startswith("my ") for path in before)


def test_folders_that_can_become_a_run(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    left = put(tmp_path / "left")  # of a start that was killed
    left.mkdir()
    aside_of(left / "run.json").write_text("{")
    (left / ".elmrec.lock").write_text("process 1 on some machine\npretrain.py\n")
    for name in ("empty", "left", "new/and/deep"):
        assert claim(Settings(checkpoint=str(tmp_path / name))) is None
    assert not list(left.iterdir())
    assert not (tmp_path / "new").exists()  # nothing was written


@pytest.mark.parametrize("name", ["", " ", "x" * 300, "a/" * 2100, "nul\0"])
def test_names_that_are_none(name, tmp_path) -> None:
    data = write_data(tmp_path / "few")
    for command in (
        [ROOT / "pretrain.py", data, "--checkpoint", name],
        [ROOT / "seq_reranker.py", data, "--checkpoint", name],
        [ROOT / "prepare.py", data / "negative.txt", "--out", name],
    ):
        done = script(*command, cwd=tmp_path)
        assert done.returncode == 2, done
        assert "Traceback" not in done.stderr
        assert "--checkpoint" in done.stderr or "--out" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def test_of_two_starts_at_once_one_has_the_folder(tmp_path) -> None:
    command = ["pretrain.py", write_data(tmp_path / "few"), *RUN, "--max_steps", 12]
    alone = script(*command, "--seed", 1, "--checkpoint", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    command += ["--save_minutes", 0.0001, "--checkpoint", tmp_path / "run"]
    first = start(*command, "--seed", 1, output=tmp_path / "first")
    until((tmp_path / "run" / "run.json").exists)
    second = script(*command, "--seed", 2, "--overwrite")
    assert second.returncode == 2
    assert f"process {first.pid} on" in second.stderr
    for flags in ([], ["--resume"]):  # refused for one reason or another
        assert script(*command, "--seed", 2, *flags).returncode == 2
    first.join()
    assert first.exitcode == 0
    assert read_json(tmp_path / "run" / "run.json")["arguments"]["seed"] == 1
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("run", "alone"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_shards_need_several_processes(tmp_path) -> None:
    with pytest.raises(UserError, match="--shard splits the model over the processes of torchrun"):
        claim(Settings(checkpoint=str(tmp_path / "run"), shard=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["state", "train_log.jsonl", "model.safetensors"])
def test_what_a_run_cannot_write_to_is_named_before_it_is_cleared(name, tmp_path) -> None:
    command = ["pretrain.py", write_data(tmp_path / "few"), *RUN, "--max_steps", 2]
    command += ["--checkpoint", tmp_path / "run"]
    assert script(*command).returncode == 0
    path = tmp_path / "run" / name
    if name == "state":
        shutil.rmtree(path)
        path.write_text("mine")
    else:
        path.unlink()
        path.mkdir()
    before = sorted(path.name for path in (tmp_path / "run").rglob("*"))
    done = script(*command, "--overwrite")
    assert done.returncode == 2
    assert f"{path}: is no " in done.stderr
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == before


def test_states_on_another_disk(tmp_path) -> None:
    """The folder of the states is a link; so is one state, which is then somebody's own."""
    command = ["pretrain.py", write_data(tmp_path / "few"), *RUN, "--max_steps", 2]
    command += ["--checkpoint", tmp_path / "run"]
    assert script(*command).returncode == 0
    (tmp_path / "run" / "state").rename(tmp_path / "disk")
    (tmp_path / "run" / "state").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "step-00000001").symlink_to(tmp_path / "disk" / "step-00000002")
    for flag in ("--resume", "--overwrite"):
        done = script(*command, flag)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "run" / "state").is_symlink()
        assert (tmp_path / "disk" / "step-00000001").is_symlink()
        assert (tmp_path / "disk" / "step-00000002" / "state.json").is_file()


def test_a_run_that_was_stopped_before_it_began_needs_no_flag(tmp_path) -> None:
    command = ["pretrain.py", write_data(tmp_path / "few"), *RUN, "--max_steps", 2]
    command += ["--checkpoint", tmp_path / "run"]
    assert script(*command).returncode == 0
    for name in ("state", "model.safetensors", "train_log.jsonl"):
        path = tmp_path / "run" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert script(*command).returncode == 0
    assert script(*command).returncode == 2  # now there is something


def test_a_restart_never_takes_an_older_run_for_its_own(tmp_path, monkeypatch) -> None:
    """torchrun starts the processes anew when the first refused the folder, or died too early."""
    command = ["pretrain.py", write_data(tmp_path / "few"), *RUN, "--max_steps", 2]
    command += ["--checkpoint", tmp_path / "run"]
    assert script(*command).returncode == 0
    arguments = read_json(tmp_path / "run" / "run.json")["arguments"]
    settings = Settings(**arguments)
    marks: set[str] = set()
    monkeypatch.setattr(distributed, "restarted", lambda: True)
    monkeypatch.setattr(distributed, "start", lambda cuda: None)
    monkeypatch.setattr(distributed, "noted", lambda mark: mark in marks)
    with pytest.raises(UserError, match="holds a run, at step 2"):
        claim(settings)
    assert claim(Settings(**arguments | {"overwrite": True})) is None
    assert claim(Settings(**arguments | {"resume": "2"})) == "2"
    marks.add(f"begun/{(tmp_path / 'run').resolve()}")
    assert claim(settings) == "last"
    assert claim(Settings(**arguments | {"overwrite": True})) == "last"


def test_a_signal_is_answered_within_a_validation(tmp_path) -> None:
    """The state is saved, and the run goes on with the validation."""
    data = write_data(tmp_path / "few")
    command = ["pretrain.py", data, *RUN, "--max_steps", 4, "--eval_users", 4, "--checkpoint"]
    assert script(*command, tmp_path / "whole").returncode == 0
    slow = tmp_path / "slow.py"  # a validation that takes as long as one of many users
    slow.write_text(
        "import runpy, sys, time\n"
        "from modules.evaluation.ranker import Ranker\n"
        "decoder = Ranker._decoder\n"
        "def slow(self, batch):\n"
        "    open(sys.argv[-1] + '.validates', 'w').close()\n"
        "    time.sleep(1)\n"
        "    return decoder(self, batch)\n"
        "Ranker._decoder = slow\n"
        "runpy.run_path('pretrain.py', run_name='__main__')\n"
    )
    process = start(slow, *command[1:], tmp_path / "run", output=tmp_path / "out")
    until((tmp_path / "run.validates").exists)
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 143, (tmp_path / "out.err").read_text()
    assert not (tmp_path / "run" / "model.safetensors").exists()  # it was not validated
    done = script(*command, tmp_path / "run", "--resume")
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("run", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_short_run_is_validated_on_a_part(tmp_path) -> None:
    command = [
        "pretrain.py",
        "data/demo",
        "--preset",
        "readme",
        "--backbone",
        "tiny",
        "--negative_num",
        9,
    ]
    command += ["--batch_size", 4, "--max_steps", 3, "--precision", "fp32", "--checkpoint"]
    done = script(*command, tmp_path / "a")
    assert "validated on 12 samples a task" in done.stdout, done.stderr
    given = script(*command, tmp_path / "b", "--valid_samples", 12)
    assert "validated on" not in given.stdout
    logs = [read_jsonl(tmp_path / name / "train_log.jsonl")[-1] for name in "ab"]
    assert logs[0]["valid"] == logs[1]["valid"]
    assert logs[0]["valid_samples"] == 12
