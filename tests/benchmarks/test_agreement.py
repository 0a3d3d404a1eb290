"""The fast path against transformers' own, prefix by prefix, on real users."""

import pytest

from benchmarks.agreement import TOP, agreement, continuations
from benchmarks.setting import train_briefly
from modules.runs.run import open_run
from modules.tasks import Task
from utils.runtime import Machine, pick_device


def test_continuations_by_hand() -> None:
    assert continuations([(5, 1), (5, 6, 1), (7, 1)]) == {(): [5, 7], (5,): [1, 6]}


@pytest.mark.slow
def test_lists_are_the_same_on_real_beauty(shared, tmp_path) -> None:
    data = str(shared / "data" / "beauty")
    train_briefly(data, "mini", 30, tmp_path)
    run = open_run(tmp_path, data, Machine(pick_device(False), "fp32"))
    for task in (Task.SEQUENTIAL, Task.DIRECT):
        found = agreement(run, str(tmp_path), task, users=100)
        assert found.users == found.same_but_ties == 100, (task, TOP)
        assert found.largest_gap < 1e-4
