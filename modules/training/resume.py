"""The training state of a run: written whole or not at all, found again, checked.

``<run>/state/step-00001200/`` holds model, optimizer, generators, and the place in every task's
list. The two newest are kept: the last good one stays until the next is whole, and one more in
case a disk damages it.
"""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from modules.runs.folder import check_data, write_run
from modules.runs.record import RUN_FILE, read_record
from modules.runs.run import Run
from modules.training.claim import check_same_run, chosen_state, clear_folder, saved_states
from modules.training.events import EpochReport, FitResult
from modules.training.log import TrainingLog, event_folder
from modules.training.loss_meter import NonFiniteLoss
from modules.training.parallel import full_state_dict
from modules.training.trainer import Trainer
from utils import distributed
from utils.console import say
from utils.errors import UserError
from utils.files import sha256, whole_folder, write_bytes
from utils.json_files import read_json, write_json

KEPT = 2
TENSORS, VALUES = "state.safetensors", "state.json"


def save_state(folder: Path, trainer: Trainer) -> None:
    """Save the trainer's state; all ranks must call it, rank 0 writes."""
    tensors, values = trainer.state()
    if distributed.is_main():
        content = save({name: x.detach().cpu().contiguous() for name, x in tensors.items()})
        target = folder / "state" / f"step-{trainer.step:08d}"
        with whole_folder(target) as aside:
            write_bytes(aside / TENSORS, content)
            checksums = {TENSORS: hashlib.sha256(content).hexdigest()}
            write_json(aside / VALUES, {**values, "sha256": checksums})
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
    path, others = chosen_state(folder, step)
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
        write_run(run.folder, run.record, run.tokenizer, run.numbers)


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
