"""What stands in a run's folder beside the model: its record, the item numbers, the tokenizer.

All of it is held against the record, and the data folder too, so that a model is never evaluated
on something else than it was trained on without a word.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from modules.data.dataset import ITEM_IDS, PROTOCOLS, RecDataset
from modules.presets import PRESETS
from modules.tasks import Task
from utils.console import say
from utils.errors import UserError, limit
from utils.files import check_file, read_json, sha256, write_bytes, write_json
from utils.provenance import versions

RUN_FILE = "run.json"
NUMBERS_FILE = "item_numbers.json"
REQUIRED_DATA = ("sequential.txt", "datamaps.json")

# What evaluation reads of a record, and what it must be.
_KINDS = {str: "a text", int: "a whole number", dict: "a map", NoneType: "null"}
_ENTRIES: dict[str, tuple[type, ...]] = {
    "dataset": (str,),
    "command": (str,),
    "commit": (str, NoneType),  # null: not run from a git repository
    "versions": (dict,),
    "arguments": (dict,),
    "fingerprints": (dict,),
    "files": (dict,),
    "held_out_edges_seen": (int,),
    "held_out_records_seen": (int,),
}
_ARGUMENTS: dict[str, range | Sequence[str]] = {
    "seed": range(2**32),
    "negative_num": range(1, 2**31),
    "exp_len": range(1, 2**31),
    "protocol": PROTOCOLS,
    "item_ids": ITEM_IDS,
    "preset": tuple(PRESETS),
}


def write_run(
    folder: Path,
    run: Mapping[str, Any],
    dataset: RecDataset,
    tokenizer: PreTrainedTokenizerBase,
    numbers: np.ndarray,
) -> None:
    """Write tokenizer, item numbers and, last, the record with the fingerprints of all of them."""
    try:  # aside first: each file then comes whole to the folder, or not at all
        with tempfile.TemporaryDirectory() as aside:
            tokenizer.save_pretrained(aside)
            files = {path.name: path.read_bytes() for path in sorted(Path(aside).iterdir())}
    except OSError as error:
        raise UserError(
            f"{tempfile.gettempdir()}: the tokenizer cannot be put together there "
            f"({error.strerror or error}). Free space, or name another folder in TMPDIR."
        ) from error
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_json(folder / NUMBERS_FILE, numbers[1:].tolist())
    own = {name: sha256(folder / name) for name in (*files, NUMBERS_FILE)}
    write_json(folder / RUN_FILE, {**run, "fingerprints": dataset.fingerprints, "files": own})


def read_run(folder: Path) -> dict[str, Any]:
    """The record of a run.

    Raises:
        UserError: naming the file, where the folder or the file is missing, or an entry that
            evaluation needs is not what it must be.
    """
    if not os.path.isdir(folder):
        raise UserError(f"--checkpoint {folder}: no such folder. Train a model with pretrain.py.")
    path = folder / RUN_FILE
    run = read_json(path)
    if not isinstance(run, dict):
        raise UserError(f"{path}: holds {limit(run)}, not the record of a run.")
    for key, kinds in _ENTRIES.items():
        if type(run.get(key)) not in kinds:
            due = " or ".join(_KINDS[kind] for kind in kinds)
            raise UserError(
                f"{path}: {key!r} is {limit(run.get(key))}, not {due}; this is not a record as "
                "pretrain.py writes it. Put the original file back."
            )
    for key, allowed in _ARGUMENTS.items():
        value = run["arguments"].get(key)
        number = isinstance(allowed, range)  # asked for anything else, a range is walked through
        if type(value) is not (int if number else str) or value not in allowed:
            due = f"{allowed[0]} to {allowed[-1]}" if number else " or ".join(allowed)
            raise UserError(f"{path}: argument {key!r} is {limit(value)}; {due} is due.")
    tasks, known = run["arguments"].get("tasks"), [task.label for task in Task]
    if not isinstance(tasks, list) or not tasks or any(name not in known for name in tasks):
        raise UserError(
            f"{path}: argument 'tasks' is {limit(tasks)}; a list of {', '.join(known)} is due."
        )
    return run


def check_files(folder: Path, run: Mapping[str, Any]) -> None:
    """UserError, naming the file, where the tokenizer or the item numbers are not the run's."""
    if NUMBERS_FILE not in run["files"] or len(run["files"]) < 2:
        raise UserError(
            f"{folder / RUN_FILE}: 'files' does not name {NUMBERS_FILE} and the tokenizer. Put the "
            "original file back."
        )
    for name, fingerprint in run["files"].items():
        path = folder / Path(name).name
        check_file(path, "The model's folder is not complete.")
        if sha256(path) != fingerprint:
            what = "item numbers" if name == NUMBERS_FILE else "tokenizer"
            raise UserError(
                f"{path}: not the {what} that this model was trained with; the file was changed "
                "or cut short. Put the original file back."
            )


def check_data(
    folder: Path, run: Mapping[str, Any], dataset: RecDataset, optional: Sequence[str]
) -> None:
    """UserError, naming the file, where the data are not those that the run was trained on.

    optional: files that this evaluation reads where they are there, and that must not have
    changed. Which are there and which are not is told with the results.
    """
    then, now = run["fingerprints"], dataset.fingerprints
    changed = [file for file in REQUIRED_DATA if then.get(file) != now[file]]
    both = then.keys() & now.keys()
    changed += [file for file in optional if file in both and then[file] != now[file]]
    if changed:
        raise UserError(
            f"--checkpoint {folder} was trained on the data set {run['dataset']!r}, whose "
            f"{' and '.join(changed)} {'is' if len(changed) == 1 else 'are'} not what lies in "
            f"{dataset.folder} now. Pass the folder it was trained on, or put the original back."
        )


def read_numbers(folder: Path, n_items: int) -> np.ndarray:
    """(I + 1,) the number by which each item is written; UserError where they are not 1 to I."""
    path = folder / NUMBERS_FILE
    numbers = read_json(path)
    whole = isinstance(numbers, list) and all(type(number) is int for number in numbers)
    if not whole or sorted(numbers) != list(range(1, n_items + 1)):
        raise UserError(
            f"{path}: {limit(numbers)} is not each number from 1 to {n_items} once. Put the "
            "original file back."
        )
    return np.asarray([0, *numbers], dtype=np.int64)


def warn_of_versions(run: Mapping[str, Any]) -> None:
    """Say which libraries are of other versions than in training: results may differ a little."""
    then, now = run["versions"], versions()
    other = [name for name in now if then.get(name) != now[name]]
    if other:
        say(
            "warning: trained with "
            + ", ".join(f"{name} {limit(then.get(name))}" for name in other)
            + "; this is "
            + ", ".join(f"{name} {now[name]!r}" for name in other)
            + ". Results may differ."
        )
