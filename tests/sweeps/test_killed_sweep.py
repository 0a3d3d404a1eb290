"""A sweep of real runs, two methods and three seeds, whose processes are all killed at once, as if
the power fails: the same command goes on, and the table says what the six results say."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import pytest

from modules.training.claim import saved_states, step_of
from tests.conftest import ROOT, process, write_folder
from tests.kills import strays

pytestmark = pytest.mark.slow  # thirteen processes, each of which loads PyTorch

FILE = """
data: {data}
seeds: [0, 1, 2]
common: {{preset: readme, backbone: tiny, batch_size: 2, negative_num: 5, max_steps: 60,
         save_minutes: 0.0001, no_verdict: true}}
runs: {{elmrec: {{method: elmrec}}, pod: {{method: pod}}}}
tasks: sequential
"""
STEP = 3  # of the run that is killed


def started(log: Path) -> list[str]:
    """The commands of a folder, each as often as it was begun."""
    return [line for line in log.read_text().splitlines() if line.startswith("$ ")]


def kill_within(folder: Path, command: list[object]) -> None:
    """Run a sweep until a training in it has made some steps, then end all of its processes."""
    sweep = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 1800  # where the machine is busy
    try:
        while not (states := saved_states(folder)) or step_of(states[-1]) < STEP:
            assert sweep.poll() is None, "the sweep has ended"
            assert time.monotonic() < end, "the sweep hangs"
            time.sleep(0.002)
    finally:
        os.killpg(sweep.pid, signal.SIGKILL)
        sweep.wait()


def test_six_runs_killed_once(tmp_path):
    (tmp_path / "try.yaml").write_text(FILE.format(data=write_folder(tmp_path / "few")))
    root = tmp_path / "ck" / "sweep-try"
    command = ["compare.py", "sweep", tmp_path / "try.yaml", "--checkpoint", tmp_path / "ck"]
    victim = root / "few-pod-0"
    kill_within(victim, command)
    assert not (root / "table.tex").exists()

    done = process(*command)
    assert done.returncode == 0, done.stderr
    assert "continuing from step" in (root / f"{victim.name}.log").read_text()
    for name in ("elmrec", "pod"):
        results = []
        for seed in range(3):
            folder = root / f"few-{name}-{seed}"
            commands = started(root / f"{folder.name}.log")
            assert len(commands) == 2 + (folder == victim), commands  # what was done stays done
            assert json.loads((folder / "run.json").read_text())["arguments"]["method"] == name
            results.append(json.loads((folder / "sequential.json").read_text())["metrics"])
        for metric in ("HR@10", "NDCG@10"):
            values = [metrics[metric] for metrics in results]
            cell = rf"{mean(values):.4f} $\pm$ {stdev(values):.4f} (3)"
            assert cell in (root / "table.tex").read_text()
            assert cell.replace(r"$\pm$", "±") in (root / "table.md").read_text()
    assert len(json.loads((root / "sweep.json").read_text())["done"]) == 12
    assert strays(root) == []
