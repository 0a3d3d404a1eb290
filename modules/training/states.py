"""The training state of a run: written whole or not at all, found again, checked.

``<run>/state/step-00001200/`` holds model, optimizer, generators, and the place in every task's
list. The two newest are kept: the last good one stays until the next is whole, and one more in
case a disk damages it.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from safetensors.torch import load_file

from modules.runs.record import RUN_FILE
from modules.training.claim import STATES, chosen_states, saved_states, step_of
from modules.training.trainer import Trainer
from utils import distributed
from utils.console import say
from utils.errors import UserError
from utils.files import check_file, readable, sha256, whole_file, whole_folder
from utils.json_files import check_type, read_json, write_json
from utils.tensor_files import write_tensors

KEPT = 2
TENSORS, VALUES = "state.safetensors", "state.json"
_Count = Annotated[int, Meta(ge=0, le=2**53)]


@dataclass(frozen=True)
class StateValues:
    """The plain values of a state: ``Trainer.state``."""

    step: _Count
    epoch: _Count
    nth: _Count
    endured: _Count
    skipped: _Count
    best: float | None
    samplers: dict[str, dict[str, Any]]  # task -> the place in its list, and its generator
    processes: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True)
class StateRecord:
    """``state.json``: the values, whose run it is, and checksums of both files' content."""

    run_id: str
    values: StateValues
    values_sha256: str
    tensors_sha256: str


def save_state(folder: Path, trainer: Trainer, run_id: str) -> None:
    """Save the trainer's state; all ranks must call it, rank 0 writes.

    A state that is there already and whole is left as it is.
    """
    tensors, values = trainer.state()
    if distributed.is_main():
        target = folder / STATES / f"step-{trainer.step:08d}"
        if not _is_saved(target, values, run_id):
            with whole_folder(target) as aside:
                with whole_file(aside / TENSORS) as file:
                    kept = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
                    write_tensors(file, kept)
                record = {
                    "run_id": run_id,
                    "values": values,
                    "values_sha256": _checksum(values),
                    "tensors_sha256": sha256(aside / TENSORS),
                }
                write_json(aside / VALUES, record)
        _keep_newest(folder, trainer.step)
    distributed.wait_for_all()


def _checksum(values: Any) -> str:
    """Of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _is_saved(target: Path, values: dict[str, Any], run_id: str) -> bool:
    if not target.is_dir():
        return False
    try:
        return check_state(target, run_id) == values
    except UserError:  # damaged: it is written anew
        return False


def _keep_newest(folder: Path, step: int) -> None:
    """Remove all states but the newest up to a step. Those behind it are of a run that was taken
    back, and are made again."""
    states = saved_states(folder)
    kept = [path for path in states if step_of(path) <= step][-KEPT:]
    for path in states:
        if path not in kept:
            shutil.rmtree(path)


def check_state(path: Path, run_id: str) -> dict[str, Any]:
    """The plain values of a state.

    Raises:
        UserError: where it is damaged, cut short, changed, or of another run.
    """
    table = read_json(path / VALUES)
    record = check_type(path / VALUES, table, StateRecord)
    if _checksum(table["values"]) != record.values_sha256 or record.values.step != step_of(path):
        raise UserError(f"{path / VALUES}: not as it was saved (checksum, or the folder's name).")
    check_file(path / TENSORS, "The state is not complete.")
    if sha256(path / TENSORS) != record.tensors_sha256:
        raise UserError(f"{path / TENSORS}: damaged or cut short (checksum).")
    if record.run_id != run_id:
        raise UserError(f"{path}: of another run than {RUN_FILE}, {record.run_id}.")
    return table["values"]


def load_state(folder: Path, trainer: Trainer, step: str, run_id: str) -> int:
    """Have the trainer continue from a state of the run. All ranks must call it; the main one
    chooses.

    Args:
        step: which one, or ``last``: the newest that is whole.

    Returns:
        its step.

    Raises:
        UserError: where there is none that is whole; names the file, and what is left to try.
    """
    found = _good_state(folder, step, run_id) if distributed.is_main() else None
    path, values = distributed.gather(found)[0]
    if values["processes"] != distributed.world_size():
        raise UserError(
            f"--resume: {path} was saved by {values['processes']} processes, and now there are "
            f"{distributed.world_size()}. Start as many."
        )
    with readable(f"--resume: {path}"):
        trainer.load_state(load_file(path / TENSORS), values)
    return trainer.step


def _good_state(folder: Path, step: str, run_id: str) -> tuple[Path, dict[str, Any]]:
    """The first state that is whole, and its values; those before it are said to be damaged."""
    damage = ""
    for path in chosen_states(folder, step):
        try:
            return path, check_state(path, run_id)
        except UserError as error:
            damage = str(error)
            say(f"warning: {damage} It is not used")
    others = [str(step_of(path)) for path in saved_states(folder) if str(step_of(path)) != step]
    advice = f"Continue from another, --resume {others[-1]}" if others and step != "last" else ""
    raise UserError(f"--resume: {damage} {advice or 'Start anew with --overwrite'}.")
