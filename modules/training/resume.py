"""A run begun or continued in its folder, and trained there."""

import shutil
from dataclasses import replace
from pathlib import Path

from modules.model.weights import CONFIG_FILE, WEIGHTS_FILE
from modules.reports.page import REPORT
from modules.runs.folder import check_data, write_run
from modules.runs.kinds import LogLine
from modules.runs.model_card import CARD, OLDER_CARDS
from modules.runs.record import RUN_FILE, read_record
from modules.runs.run import Run
from modules.runs.verdict import remove_verdict
from modules.runs.writing import remove_result, results_of
from modules.training.claim import STATES, check_same_run, mark_of, saved_states
from modules.training.curves import EVENTS, WANDB, Curves
from modules.training.events import EpochReport, FitResult
from modules.training.log import LOG_FILE, TrainingLog
from modules.training.loss_meter import NonFiniteLoss
from modules.training.parallel import full_state_dict
from modules.training.settings import Settings
from modules.training.states import load_state, save_state
from modules.training.trainer import Trainer
from utils import distributed
from utils.console import say
from utils.errors import UserError
from utils.files import read_file, sha256, write_bytes
from utils.json_files import check_type, parse_json, write_json
from utils.own_files import is_own
from utils.pages import OLDER_PAGES


def start_or_resume(run: Run, trainer: Trainer, step: str | None) -> Run:
    """Begin the run in its folder, or continue it from a saved step. All ranks must call it.

    Returns:
        the run, with the record that is in its folder.
    """
    if step is not None:
        run, at = resume_run(run, trainer, step)
        if distributed.is_main():
            distributed.note(mark_of(run.folder))
        say(f"continuing from step {at:,}")
    else:
        if distributed.is_main():
            clear_folder(run.folder)
            distributed.note(mark_of(run.folder))  # from here on the folder holds this run or none
            write_run(run.folder, run.record, run.tokenizer, run.numbers, run.dataset)
        save_state(run.folder, trainer, run.record.run_id)
    return run


def resume_run(run: Run, trainer: Trainer, step: str) -> tuple[Run, int]:
    """Continue a run: it, and the step. run.json notes where and how it was continued."""
    folder, record = run.folder, read_record(run.folder)
    check_data(folder, record, run.dataset, tuple(record.fingerprints))
    check_same_run(record.arguments, run.record.arguments)
    at = load_state(folder, trainer, step, record.run_id)
    if distributed.is_main():
        trim_log(folder / LOG_FILE, at, validated=trainer.nth == 0)
        remove_verdict(folder)
        now = run.record
        note = {"command": now.command, "versions": now.versions, "commit": now.commit, "step": at}
        record = replace(record, resumed=[*record.resumed, note])
        write_json(folder / RUN_FILE, record.as_json())
    distributed.wait_for_all()
    return replace(run, record=record), at


def clear_folder(folder: Path) -> None:
    """Remove what the run in a folder wrote, before another starts in its place: what its record
    names, the files that every training writes, and the results that say they are of it. Anything
    else stays, and so does run.json, until the new one replaces it.

    Raises:
        UserError: where a result cannot be removed.
        OSError: where something else cannot.
    """
    if not (folder / RUN_FILE).exists():
        return
    record = read_record(folder)
    for name in results_of(folder, record):
        remove_result(folder, name)
    remove_verdict(folder)
    for state in saved_states(folder):
        shutil.rmtree(state)
    for events in (folder / EVENTS).glob("events.out.tfevents.*"):
        events.unlink()
    _clear_wandb(folder / WANDB, record.run_id)
    for path in (folder / STATES, folder / EVENTS, folder / WANDB):  # if nothing else is in them
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()
    for name in (WEIGHTS_FILE, CONFIG_FILE, LOG_FILE):
        (folder / name).unlink(missing_ok=True)
    for name, checksum in record.files.items():
        path = folder / Path(name).name
        if path.is_file() and sha256(path) == checksum:
            path.unlink()
    for name, older in ((CARD, OLDER_CARDS), (REPORT, OLDER_PAGES)):
        if is_own(folder / name, older):
            (folder / name).unlink(missing_ok=True)


def _clear_wandb(folder: Path, run_id: str) -> None:
    """Remove what the package wandb wrote of a run, and its links to that."""
    if not run_id:  # older runs have none
        return
    for kept in folder.glob(f"*run-*-{run_id}"):
        if kept.is_dir() and not kept.is_symlink():
            shutil.rmtree(kept)
    for link in (folder / name for name in ("latest-run", "debug.log", "debug-internal.log")):
        if link.is_symlink() and not link.exists():
            link.unlink()


def trim_log(path: Path, step: int, validated: bool) -> None:
    """Drop the lines of the log behind a state: they will be written again. A line that cannot be
    read, as a power failure leaves one, is dropped too, and said.

    Args:
        step: of the state.
        validated: the state is of after the validation at this step, if there is one.
    """
    if not path.exists():
        return
    kept, bad = [], 0
    for line in read_file(path, "").splitlines(keepends=True):
        try:
            found = check_type(path, parse_json(path, line), LogLine)
            if found.step < step or (found.step == step and (validated or not found.valid)):
                kept.append(line)
        except UserError:
            bad += 1
    if bad:
        say(f"{path}: {bad} line(s) that cannot be read are left out")
    write_bytes(path, b"".join(kept))


def save_model(run: Run, metadata: dict[str, str]) -> None:
    """Write the model folder's weights; all ranks must call it, rank 0 writes."""
    tensors = full_state_dict(run.model)
    if distributed.is_main():
        run.model.save_pretrained(run.folder, metadata, tensors)
    distributed.wait_for_all()


def run_training(run: Run, trainer: Trainer, settings: Settings) -> FitResult:
    """Train, keeping the log, its curves, the best model and the state.

    Raises:
        UserError: where a loss is not finite; it names the last good state. Where the curves that
            the settings ask for cannot be begun.
    """
    folder, result = run.folder, None
    curves = Curves.of(settings, run.record, trainer.step)
    log = TrainingLog(folder, trainer.total_steps, trainer.step, curves)

    def keep(best: EpochReport) -> None:
        of = {"run_id": run.record.run_id, "step": str(best.step)}
        save_model(run, of | {"valid_loss": f"{best.found.mean:.6f}"})

    def save() -> None:
        save_state(folder, trainer, run.record.run_id)

    try:
        result = trainer.fit(log.step, log.epoch, keep, save)
    except NonFiniteLoss as error:
        states = saved_states(folder)
        where = f" The last good state is {states[-1]} (--resume)." if states else ""
        raise UserError(f"{error}{where}") from error
    finally:
        log.close(whole=result is not None and not result.interrupted)
    return result
