"""Whose is the folder of ``--checkpoint``? Asked before torch loads and anything is written.

A run's folder holds its record, run.json, which is the first file to come and the last to go. A
folder that is empty or does not exist can become one; no other is touched.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modules.runs.record import RUN_FILE, read_record
from modules.tasks import TASKS
from modules.training.curves import EVENTS, WANDB
from modules.training.log import LOG_FILE
from modules.training.settings import Settings
from utils import distributed
from utils.console import say
from utils.errors import UserError
from utils.files import sweep
from utils.locks import LOCK_FILE, locked
from utils.own_files import check_own_folder, check_place

STATES = "state"  # folder of the states, in the run's
# Settings that may differ when a run is continued: they say when to stop and where to write.
FREE = {
    "resume", "overwrite", "epochs", "max_steps", "max_minutes", "endure_times", "save_minutes",
    "log_interval", "checkpoint", "data_dir", "tensorboard", "wandb", "model_version",
    "preset", "no_verdict",
}  # fmt: skip
# Settings that earlier versions did not have: what they did, where it is not today's default.
BEFORE = {"own_edges": "keep", "item_graph": "none", "text_dropout": None, "softmax": "full"}


def saved_states(folder: Path) -> list[Path]:
    """The states of a run, oldest first; what else lies beside them is left alone."""
    parent = folder / STATES
    if not parent.is_dir():
        return []
    found = (path for path in parent.iterdir() if re.fullmatch(r"step-[0-9]{8,18}", path.name))
    return sorted((p for p in found if p.is_dir() and not p.is_symlink()), key=step_of)


def step_of(state: Path) -> int:
    """The step at which a state was saved, by its name."""
    return int(state.name.removeprefix("step-"))


def chosen_states(folder: Path, step: str) -> list[Path]:
    """The states that a run may continue from, the best first: that of a step, or, for ``last``,
    all from the newest on.

    Raises:
        UserError: where there is none.
    """
    states = saved_states(folder)[::-1]
    if not states:
        raise UserError(
            f"--resume: {folder} holds no training state. Start the run without --resume, with "
            "--overwrite to replace what is there."
        )
    if step == "last":
        return states
    chosen = [path for path in states if str(step_of(path)) == step]
    if not chosen:
        steps = ", ".join(str(step_of(path)) for path in states[::-1])
        raise UserError(f"--resume {step}: {folder}/{STATES} holds no such step, but {steps}.")
    return chosen


@contextmanager
def claim_folder(settings: Settings) -> Iterator[str | None]:
    """Hold the run's folder, so that no run is mixed with another.

    Yields:
        the step to continue from: ``--resume``, or "last" where torchrun has started this process
        anew after one had died; None for a new run.

    Raises:
        UserError: where another process has the folder, it is not a run's, or it holds a run and
            no flag says what to do with it; or there is none to continue, or one of other settings.
    """
    folder = settings.folder
    step = _step_to_continue(settings)  # before a byte is written
    if not distributed.is_main():
        yield step
        return
    with locked(folder / LOCK_FILE, f"--checkpoint {folder}"):
        step = _step_to_continue(settings)  # another run may have begun meanwhile
        for left in (folder, folder / STATES):
            sweep(left)
        if settings.resume is not None and step is None:
            say(f"the run in {folder} was ended before its first state: it starts anew")
        yield step


def _step_to_continue(settings: Settings) -> str | None:
    folder, resume = settings.folder, settings.resume
    if settings.shard and not distributed.launched():
        raise UserError(
            "--shard splits the model over the processes of torchrun, and this is one alone. Start "
            "it with torchrun, or leave it out."
        )
    check_own_folder(folder, RUN_FILE, "--checkpoint")
    holds_run = (folder / RUN_FILE).exists()
    before = read_record(folder).arguments if holds_run else {}
    if holds_run and not has_begun(folder):
        return None
    if distributed.restarted():
        distributed.start(settings.cuda)
        if distributed.noted(mark_of(folder)):
            resume = "last"
    if resume is None and not settings.overwrite and holds_run:
        states = saved_states(folder)
        at = f", at step {step_of(states[-1])}. --resume continues it," if states else "."
        raise UserError(
            f"--checkpoint {folder}: holds a run{at} --overwrite starts anew in its place; or name "
            "another folder."
        )
    _check_kinds(folder)
    check_place(folder, "--checkpoint")
    if resume is not None:
        if not holds_run:
            read_record(folder)  # which says what is missing
        chosen_states(folder, resume)
        # What is None here has its value later: then all is compared once more.
        now = settings.as_arguments()
        check_same_run(before, {name: value for name, value in now.items() if value is not None})
    return resume


def _check_kinds(folder: Path) -> None:
    """UserError where something in the folder is not what a run would write to: before it does."""
    for name, is_kind, kind in (
        (STATES, os.path.isdir, "folder"),
        (EVENTS, os.path.isdir, "folder"),
        (WANDB, os.path.isdir, "folder"),
        (LOG_FILE, os.path.isfile, "file"),
        ("model.safetensors", os.path.isfile, "file"),
        ("config.json", os.path.isfile, "file"),
    ):
        path = folder / name
        if os.path.lexists(path) and not is_kind(path):
            raise UserError(
                f"{path}: is no {kind}, and a run needs one of that name. Move it away."
            )


def mark_of(folder: Path) -> str:
    """By which a restarted process knows that the run in the folder is its own."""
    return f"begun/{folder.resolve()}"


def has_begun(folder: Path) -> bool:
    """Whether a run has got as far as its first state, or was put there whole. One that was killed
    before has nothing to continue, and nothing that is worth a flag."""
    left = ("model.safetensors", LOG_FILE, *(f"{task}.json" for task in TASKS))
    return bool(saved_states(folder)) or any((folder / name).exists() for name in left)


def check_same_run(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError where a setting that shapes the run is not as it was started with. A setting that
    the version that started it did not have is as in ``BEFORE``, or else not compared."""
    before = {**BEFORE, **before}
    for name, value in now.items():
        if name not in FREE and name in before and before[name] != value:
            raise UserError(
                f"--resume: --{name} is {value}, but the run was started with {before[name]}. Give "
                "it as it was, or start a run of its own with another --checkpoint."
            )
