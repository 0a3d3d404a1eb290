"""torchrun starts the processes anew after one was killed: the run ends as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modules.training.claim import saved_states, step_of
from tests.conftest import ROOT, process
from tests.kills import strays
from tests.training.test_resume import assert_same_run

pytestmark = pytest.mark.slow  # each start of two processes takes ten seconds and more

RUN = "data/demo --preset readme --backbone tiny --negative_num 9 --batch_size 16"
RUN += " --max_steps 14 --precision fp32"
RUN += " --valid_samples 24 --log_interval 5 --save_minutes 0.0001"


def torchrun(folder: Path, *flags: str) -> list[str]:
    """The command of a run of two processes."""
    command = ["-m", "torch.distributed.run", *flags, "--nproc_per_node=2", "--max_restarts=2"]
    return [*command, "pretrain.py", *RUN.split(), "--checkpoint", str(folder)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of two processes that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = process(*torchrun(folder, "--standalone"))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def worker(rank: int, folder: Path) -> int | None:
    """The process of a rank that trains in a folder, found by what the system says of it."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended, or is another user's
            continue
        if f"RANK={rank}".encode() in variables and os.fsencode(folder) in arguments:
            return int(entry.name)
    return None


@pytest.mark.parametrize("kill_at", [0, 3, 7, 11, 14])
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    "flags", [["--standalone"], ["--master_port=29517"]], ids=["c10d", "static"]
)
def test_a_killed_process(flags, rank, kill_at, whole, tmp_path) -> None:
    folder, output = tmp_path / "run", tmp_path / "out"
    with output.open("wb") as file:
        launched = subprocess.Popen(
            [sys.executable, *torchrun(folder, *flags)], cwd=ROOT, stdout=file, stderr=file
        )
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and launched.poll() is None:
            states = saved_states(folder)
            if states and step_of(states[-1]) >= kill_at:
                break
            time.sleep(0.002)
        victim = worker(rank, folder)
        assert victim is not None or launched.poll() == 0
        if victim is not None:
            os.kill(victim, signal.SIGKILL)
        assert launched.wait(180) == 0, output.read_text()[-3000:]
    finally:
        launched.kill()
    text = output.read_text()
    assert victim is None or "continuing from step" in text
    assert "Traceback" not in text.replace("torch/distributed/elastic", ""), text[-3000:]
    assert_same_run(folder, whole)
    assert strays(folder) == []


def test_an_older_run_is_not_taken_for_the_new_one(whole, tmp_path) -> None:
    """The first start is refused, for the folder holds a run; so is the second."""
    done = process(*torchrun(whole, "--standalone"))
    assert done.returncode == 1
    assert "holds a run, at step 14" in done.stderr
    assert "continuing" not in done.stdout
