"""Event files, read back by TensorBoard's own reader, against train_log.jsonl."""

import json
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pretrain
from modules.training.log import Scalars, event_folder
from tests.conftest import write_folder
from utils.errors import UserError

# A state at every step, so that a run can be taken back to the one before its last.
RUN = "--preset readme --backbone tiny --batch_size 2 --negative_num 5 --log_interval 1"
RUN += " --save_minutes 0.00001"


def train(monkeypatch, data, run, *flags):
    monkeypatch.setattr(
        sys, "argv", ["pretrain.py", *map(str, (data, *RUN.split(), "--checkpoint", run, *flags))]
    )
    pretrain.main()


def curves(folder):
    """name -> [(step, value)], of all event files of a folder."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def logged(run):
    """The same, of train_log.jsonl."""
    found = {}
    for text in (run / "train_log.jsonl").read_text().splitlines():
        line = json.loads(text)
        values = {f"train/{task}": loss for task, loss in line.get("train", {}).items()}
        values |= {f"valid/{task}": loss for task, loss in line.get("valid", {}).items()}
        values |= {key: line[key] for key in ("learning_rate", "samples_per_second") if key in line}
        if "valid_mean" in line:
            values["valid/mean"] = line["valid_mean"]
        for name, value in values.items():
            found.setdefault(name, []).append((line["step"], pytest.approx(value, rel=1e-6)))
    return found


def test_a_run_and_one_that_goes_on(tmp_path, monkeypatch):
    data, run = write_folder(tmp_path / "few"), tmp_path / "run"
    train(monkeypatch, data, run, "--max_steps", "6", "--tensorboard", "--lr", "0.003")
    first = curves(run / "tensorboard")
    tasks = ("explanation", "sequential", "direct")
    names = {f"{kind}/{task}" for kind in ("train", "valid") for task in tasks}
    assert first.keys() == names | {"valid/mean", "learning_rate", "samples_per_second"}
    assert first == logged(run)
    assert first["learning_rate"] == [(step, pytest.approx(0.003)) for step in range(1, 7)]

    # Back to step 5: the points of step 6 are made again, and stand once.
    more = ("--tensorboard", "--lr", "0.003", "--resume", "5")
    train(monkeypatch, data, run, "--max_steps", "9", *more)
    second = curves(run / "tensorboard")
    assert second == logged(run)
    assert [step for step, _ in second["learning_rate"]] == list(range(1, 10))
    assert [step for step, _ in second["valid/mean"]] == [s for s, _ in logged(run)["valid/mean"]]
    assert len(list((run / "tensorboard").iterdir())) == 2

    # A run in its place takes its curves away.
    train(monkeypatch, data, run, "--max_steps", "2", "--tensorboard", "--overwrite")
    assert curves(run / "tensorboard") == logged(run)
    assert len(list((run / "tensorboard").iterdir())) == 1


def test_a_folder_of_ones_own_and_an_earlier_run_in_it(tmp_path):
    folder = tmp_path / "a" / "b"
    for value in (1.0, 2.0):
        scalars = Scalars(str(folder), 0)
        scalars.write({"step": 3, "epoch": 1, "valid": {"direct": value}, "valid_mean": value})
        assert curves(folder)["valid/direct"] == [(3, value)]  # before the file is ended
        scalars.close()
    assert event_folder(str(folder), tmp_path) == str(folder)
    assert event_folder("", tmp_path) == str(tmp_path / "tensorboard")


def test_without_the_flag_nothing_is_imported_or_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not there
    assert event_folder(None, tmp_path) is None
    run = tmp_path / "run"
    train(monkeypatch, write_folder(tmp_path / "few"), run, "--max_steps", "1")
    assert not (run / "tensorboard").exists()


def test_a_file_in_the_folders_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--tensorboard .*file: no folder"):
        Scalars(str(tmp_path / "file"), 0)


def test_a_full_disk_ends_the_curves_and_no_training(tmp_path, monkeypatch, capsys):
    scalars = Scalars(str(tmp_path / "curves"), 0)

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scalars._writer, "flush", full)
    for step in (1, 2):
        scalars.write({"step": step, "train": {"direct": 0.5}})
    scalars.close()
    said = capsys.readouterr().out
    assert said.count("cannot be written (No space left on device); going on without") == 1
