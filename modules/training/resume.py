"""The training state of a run: saved so that it is whole or not there, found again, checked.

``<run>/state/step-00001200/`` holds model, optimizer, generators, and the place in every task's
list. The two newest are kept: the last good one stays until the next is whole, and one more in
case a disk damages it.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from modules.runs.folder import RUN_FILE, check_data, read_run
from modules.runs.run import Experiment, save_run
from modules.training.events import EpochReport, FitResult
from modules.training.log import EVENTS, TrainingLog
from modules.training.loss_meter import NonFiniteLoss
from modules.training.parallel import full_state_dict
from modules.training.trainer import Trainer
from utils import distributed
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
# Flags that may be others when a run goes on: they say when to stop and where to write.
FREE = {
    "resume", "overwrite", "epochs", "max_steps", "max_minutes", "endure_times", "save_minutes",
    "log_interval", "checkpoint", "data", "data_dir", "tensorboard",
}  # fmt: skip


def save_model(experiment: Experiment, folder: Path, metadata: dict[str, str]) -> None:
    """Write the model folder's weights; all ranks must call it, rank 0 writes."""
    tensors = full_state_dict(experiment.model)
    if distributed.is_main():
        experiment.model.save_pretrained(folder, metadata, tensors)
    distributed.wait_for_all()


def saved_states(folder: Path) -> list[Path]:
    """The states of a run, oldest first."""
    return sorted((folder / "state").glob("step-*"))


def save_state(folder: Path, trainer: Trainer) -> None:
    """Save the trainer's state; all ranks must call it, rank 0 writes."""
    if not trainer.saves_state:
        return
    tensors, values = trainer.state()
    if distributed.is_main():
        content = save({name: x.detach().cpu().contiguous() for name, x in tensors.items()})
        target = folder / "state" / f"step-{trainer.step:08d}"
        write_folder(target, {TENSORS: content}, VALUES, values)
        for old in saved_states(folder)[:-KEPT]:
            shutil.rmtree(old)
    distributed.wait_for_all()


def load_state(folder: Path, trainer: Trainer, step: str) -> int:
    """Have the trainer go on from a state of the run.

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
        f"Go on from a state before it with --resume {others[-1]}."
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


def claim_folder(folder: Path, resume: str | None, overwrite: bool) -> None:
    """See to it that no run is mixed with another.

    Raises:
        UserError: where the folder holds a run, and neither flag says what to do with it.
    """
    run = folder / RUN_FILE
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--checkpoint {folder}: is a file. Name a folder.")
    if resume is None and run.exists() and not overwrite:
        states = saved_states(folder)
        at = f", at step {int(states[-1].name.removeprefix('step-'))}" if states else ""
        raise UserError(
            f"--checkpoint {folder}: holds a run{at}. --resume goes on with it, --overwrite starts "
            "anew in its place; or name another folder."
        )
    nearest = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    check_writable(nearest)


def clear_folder(folder: Path) -> None:
    """Remove what a run wrote, before another starts in its place; no other file is touched."""
    (folder / RUN_FILE).unlink(missing_ok=True)  # first: without it there is no run
    for name in ("state", EVENTS):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("model.safetensors", "train_log.jsonl", "README.md", "report.html"):
        (folder / name).unlink(missing_ok=True)
    for task in ("sequential", "direct", "explanation"):
        for ending in ("json", "jsonl"):
            (folder / f"{task}.{ending}").unlink(missing_ok=True)


def check_same_run(run: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """UserError where a flag that shapes the run is not as it was started with."""
    for name, value in arguments.items():
        before = run["arguments"].get(name)
        if name not in FREE and before != value:
            raise UserError(
                f"--resume: --{name} is {value}, but the run was started with {before}. Give it "
                "as it was, or start a run of its own with another --checkpoint."
            )


def start_run(
    experiment: Experiment, folder: Path, record: dict[str, Any], trainer: Trainer
) -> None:
    """Begin a run: its folder cleared of another's, and the state of step 0 saved."""
    if distributed.is_main():
        clear_folder(folder)
    save_state(folder, trainer)
    if distributed.is_main():
        save_run(experiment, folder, record)  # last: a folder with run.json can be resumed


def resume_run(
    experiment: Experiment, folder: Path, record: dict[str, Any], trainer: Trainer, step: str
) -> int:
    """Go on with a run; the step. run.json notes that, and how, it went on."""
    run = read_run(folder)
    check_data(folder, run, experiment.dataset, tuple(run["fingerprints"]))
    check_same_run(run, record["arguments"])
    at = load_state(folder, trainer, step)
    if distributed.is_main():
        _trim_log(folder / "train_log.jsonl", at)
        kept = {key: record[key] for key in ("command", "versions", "commit")} | {"step": at}
        write_json(folder / RUN_FILE, run | {"resumed": [*run.get("resumed", []), kept]})
    distributed.wait_for_all()
    return at


def _trim_log(path: Path, step: int) -> None:
    """Drop the lines of train_log.jsonl behind a step: they will be written again."""
    if path.exists():
        lines = path.read_bytes().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        write_bytes(path, b"".join(line for line in whole if json.loads(line)["step"] <= step))


def run_training(
    experiment: Experiment, folder: Path, trainer: Trainer, log: TrainingLog
) -> FitResult:
    """Train, keeping the best model and the state; where a loss is not finite, name the last good
    state."""

    def keep(best: EpochReport) -> None:
        save_model(experiment, folder, {"step": str(best.step), "valid_loss": f"{best.mean:.6f}"})

    try:
        return trainer.fit(log.step, log.epoch, keep, lambda: save_state(folder, trainer))
    except NonFiniteLoss as error:
        states = saved_states(folder)
        where = f" The last good state is {states[-1]} (--resume)." if states else ""
        raise UserError(f"{error}{where}") from error
    finally:
        log.close()
