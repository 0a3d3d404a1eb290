"""The training state of a run: written whole or not at all, found again, checked.

``<run>/state/step-00001200/`` holds model, optimizer, generators, and the place in every task's
list. The two newest are kept: the last good one stays until the next is whole, and one more in
case a disk damages it.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from modules.runs.folder import check_data, write_run
from modules.runs.record import RUN_FILE, read_record
from modules.runs.run import Run
from modules.tasks import TASKS
from modules.training.events import EpochReport, FitResult
from modules.training.log import EVENTS, TrainingLog, event_folder
from modules.training.loss_meter import NonFiniteLoss
from modules.training.parallel import full_state_dict
from modules.training.settings import Settings
from modules.training.trainer import Trainer
from utils import distributed
from utils.console import say
from utils.errors import UserError
from utils.files import (
    check_writable,
    read_json,
    sha256,
    write_bytes,
    write_folder,
    write_json,
)

KEPT = 2
TENSORS, VALUES = "state.safetensors", "state.json"
# Settings that may differ when a run is continued: they say when to stop and where to write.
FREE = {
    "resume", "overwrite", "epochs", "max_steps", "max_minutes", "endure_times", "save_minutes",
    "log_interval", "checkpoint", "data_dir", "tensorboard", "model_version", "preset",
}  # fmt: skip


def saved_states(folder: Path) -> list[Path]:
    """The states of a run, oldest first."""
    return sorted((folder / "state").glob("step-*"))


def save_state(folder: Path, trainer: Trainer) -> None:
    """Save the trainer's state; all ranks must call it, rank 0 writes."""
    tensors, values = trainer.state()
    if distributed.is_main():
        content = save({name: x.detach().cpu().contiguous() for name, x in tensors.items()})
        target = folder / "state" / f"step-{trainer.step:08d}"
        write_folder(target, {TENSORS: content}, VALUES, values)
        for old in saved_states(folder)[:-KEPT]:
            shutil.rmtree(old)
    distributed.wait_for_all()


def load_state(folder: Path, trainer: Trainer, step: str) -> int:
    """Have the trainer continue from a state of the run.

    Args:
        step: which one, or ``last``.

    Returns:
        its step.

    Raises:
        UserError: where there is none, or it is damaged; names the file, and the state before it.
    """
    states = saved_states(folder)
    if not states:
        raise UserError(
            f"--resume: {folder} holds no training state. Start the run without --resume, with "
            "--overwrite to replace what is there."
        )
    names = {str(int(path.name.removeprefix("step-"))): path for path in states}
    if step != "last" and step not in names:
        raise UserError(
            f"--resume {step}: {folder}/state holds no such step, but {', '.join(names)}."
        )
    path = states[-1] if step == "last" else names[step]
    others = [name for name, other in names.items() if other != path]
    values = _checked(path, others)
    if values["processes"] != distributed.world_size():
        raise UserError(
            f"--resume: {path} was saved by {values['processes']} processes, and now there are "
            f"{distributed.world_size()}. Start as many."
        )
    trainer.load_state(load_file(path / TENSORS), values)
    return trainer.step


def _checked(path: Path, others: list[str]) -> dict[str, Any]:
    """The plain values of a state whose checksums are right."""
    advice = (
        f"Continue from an earlier state with --resume {others[-1]}."
        if others
        else "There is no other state: start anew with --overwrite."
    )
    try:
        values = read_json(path / VALUES)
        if sha256(path / TENSORS) == values["sha256"][TENSORS]:
            return values
        reason = "its checksum is not the one that was saved"
    except (UserError, OSError, KeyError, TypeError) as error:
        reason = str(error)
    raise UserError(f"--resume: {path / TENSORS} is damaged or cut short ({reason}). {advice}")


def claim_folder(settings: Settings) -> str | None:
    """Make sure that no run is mixed with another.

    Returns:
        the step to continue from: ``--resume``, or "last" where torchrun has started this process
        anew after one had died; None for a new run.

    Raises:
        UserError: where the folder holds a run, and no flag says what to do with it.
    """
    folder, resume = settings.folder, settings.resume
    holds_run = (folder / RUN_FILE).exists()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--checkpoint {folder}: is a file. Name a folder.")
    if distributed.restarted() and holds_run:
        resume = resume or "last"
    if resume is None and holds_run and not settings.overwrite:
        states = saved_states(folder)
        at = f", at step {int(states[-1].name.removeprefix('step-'))}" if states else ""
        raise UserError(
            f"--checkpoint {folder}: holds a run{at}. --resume continues it, --overwrite starts "
            "anew in its place; or name another folder."
        )
    nearest = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    check_writable(nearest)
    return resume


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


def check_same_run(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError where a setting that shapes the run is not as it was started with. A setting that
    the version that started it did not have is not compared."""
    for name, value in now.items():
        if name not in FREE and name in before and before[name] != value:
            raise UserError(
                f"--resume: --{name} is {value}, but the run was started with {before[name]}. Give "
                "it as it was, or start a run of its own with another --checkpoint."
            )


def start_or_resume(run: Run, trainer: Trainer, step: str | None) -> None:
    """Begin the run in its folder, or continue it from a saved step. All ranks must call it."""
    if step is not None:
        at = resume_run(run, trainer, step)
        say(f"continuing from step {at:,}")
        return
    if distributed.is_main():
        clear_folder(run.folder)
    save_state(run.folder, trainer)
    if distributed.is_main():  # last: a folder with run.json can be resumed
        write_run(run.folder, run.record, run.dataset, run.tokenizer, run.numbers)


def resume_run(run: Run, trainer: Trainer, step: str) -> int:
    """Continue a run; the step. run.json notes where and how it was continued."""
    folder, record = run.folder, read_record(run.folder)
    check_data(folder, record, run.dataset, tuple(record.fingerprints))
    check_same_run(record.arguments, run.record.arguments)
    at = load_state(folder, trainer, step)
    if distributed.is_main():
        _trim_log(folder / "train_log.jsonl", at)
        now = run.record
        note = {"command": now.command, "versions": now.versions, "commit": now.commit, "step": at}
        record = replace(record, resumed=[*record.resumed, note])
        write_json(folder / RUN_FILE, record.as_json())
    distributed.wait_for_all()
    return at


def _trim_log(path: Path, step: int) -> None:
    """Drop the lines of train_log.jsonl behind a step: they will be written again."""
    if path.exists():
        lines = path.read_bytes().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        write_bytes(path, b"".join(line for line in whole if json.loads(line)["step"] <= step))


def save_model(run: Run, metadata: dict[str, str]) -> None:
    """Write the model folder's weights; all ranks must call it, rank 0 writes."""
    tensors = full_state_dict(run.model)
    if distributed.is_main():
        run.model.save_pretrained(run.folder, metadata, tensors)
    distributed.wait_for_all()


def run_training(run: Run, trainer: Trainer, events: str | None = None) -> FitResult:
    """Train, keeping the log, the best model and the state.

    Args:
        events: ``--tensorboard``: a folder, "" = in the run's folder, None = no event files.

    Raises:
        UserError: where a loss is not finite; it names the last good state.
    """
    folder = run.folder
    log = TrainingLog(folder, trainer.total_steps, trainer.step, event_folder(events, folder))

    def keep(best: EpochReport) -> None:
        save_model(run, {"step": str(best.step), "valid_loss": f"{best.mean:.6f}"})

    try:
        return trainer.fit(log.step, log.epoch, keep, lambda: save_state(folder, trainer))
    except NonFiniteLoss as error:
        states = saved_states(folder)
        where = f" The last good state is {states[-1]} (--resume)." if states else ""
        raise UserError(f"{error}{where}") from error
    finally:
        log.close()
