"""Whose is the folder of ``--checkpoint``? Asked before torch loads and anything is written."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.runs.record import RUN_FILE, read_record
from modules.tasks import TASKS
from modules.training.log import EVENTS
from modules.training.settings import Settings
from utils import distributed
from utils.errors import UserError
from utils.files import check_writable

# Settings that may differ when a run is continued: they say when to stop and where to write.
FREE = {
    "resume", "overwrite", "epochs", "max_steps", "max_minutes", "endure_times", "save_minutes",
    "log_interval", "checkpoint", "data_dir", "tensorboard", "model_version", "preset",
}  # fmt: skip


def saved_states(folder: Path) -> list[Path]:
    """The states of a run, oldest first."""
    return sorted((folder / "state").glob("step-*"))


def step_of(state: Path) -> int:
    """The step at which a state was saved."""
    return int(state.name.removeprefix("step-"))


def chosen_state(folder: Path, step: str) -> tuple[Path, list[str]]:
    """A state of the run, by its step or ``last``; and the steps of the others.

    Raises:
        UserError: where there is none.
    """
    states = saved_states(folder)
    if not states:
        raise UserError(
            f"--resume: {folder} holds no training state. Start the run without --resume, with "
            "--overwrite to replace what is there."
        )
    names = {str(step_of(path)): path for path in states}
    if step != "last" and step not in names:
        raise UserError(
            f"--resume {step}: {folder}/state holds no such step, but {', '.join(names)}."
        )
    path = states[-1] if step == "last" else names[step]
    return path, [name for name, other in names.items() if other != path]


def claim_folder(settings: Settings) -> str | None:
    """Make sure that no run is mixed with another.

    Returns:
        the step to continue from: ``--resume``, or "last" where torchrun has started this process
        anew after one had died; None for a new run.

    Raises:
        UserError: where the folder holds a run, and no flag says what to do with it; or there is
            none to continue, or one of other settings.
    """
    folder, resume = settings.folder, settings.resume
    holds_run = (folder / RUN_FILE).exists()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--checkpoint {folder}: is a file. Name a folder.")
    if distributed.restarted() and holds_run:
        resume = resume or "last"
    if resume is None and holds_run and not settings.overwrite:
        states = saved_states(folder)
        at = f", at step {step_of(states[-1])}" if states else ""
        raise UserError(
            f"--checkpoint {folder}: holds a run{at}. --resume continues it, --overwrite starts "
            "anew in its place; or name another folder."
        )
    nearest = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    check_writable(nearest)
    if resume is not None:
        before, now = read_record(folder).arguments, settings.as_arguments()
        chosen_state(folder, resume)
        # What is None here has its value later: then all is compared once more.
        check_same_run(before, {name: value for name, value in now.items() if value is not None})
    return resume


def check_same_run(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError where a setting that shapes the run is not as it was started with. A setting that
    the version that started it did not have is not compared."""
    for name, value in now.items():
        if name not in FREE and name in before and before[name] != value:
            raise UserError(
                f"--resume: --{name} is {value}, but the run was started with {before[name]}. Give "
                "it as it was, or start a run of its own with another --checkpoint."
            )


def clear_folder(folder: Path) -> None:
    """Remove what a run wrote, before another starts in its place; no other file is touched."""
    (folder / RUN_FILE).unlink(missing_ok=True)  # first: without it there is no run
    for name in ("state", EVENTS):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("model.safetensors", "train_log.jsonl", "README.md", "report.html"):
        (folder / name).unlink(missing_ok=True)
    for task in TASKS:
        for ending in ("json", "jsonl"):
            (folder / f"{task}.{ending}").unlink(missing_ok=True)
