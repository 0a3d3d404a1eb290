"""What the benchmarks run on can be made, and opened again."""

from pathlib import Path

import torch

from benchmarks.setting import train_briefly
from modules.runs.run import open_run
from modules.tasks import Task
from utils.runtime import Machine

DEMO = str(Path(__file__).parents[2] / "data" / "demo")


def test_a_run_that_was_trained_briefly_can_be_opened(tmp_path) -> None:
    train_briefly(DEMO, "tiny", 3, tmp_path / "run")
    run = open_run(tmp_path / "run", DEMO, Machine(torch.device("cpu"), "fp32"))
    assert set(run.record.arguments["tasks"]) == {task.label for task in Task}
