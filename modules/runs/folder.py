"""What is in a run's folder besides the model: its record, the item numbers, the tokenizer, ids and
histories.

All of it is compared with the record, and the data folder too, so that a model is never evaluated
on something else than it was trained on unnoticed.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from modules.data.dataset import RecDataset
from modules.model.weights import WEIGHTS_FILE, read_metadata
from modules.runs.library import LIBRARY_FILE, library_bytes
from modules.runs.model_card import write_model_card
from modules.runs.record import REQUIRED_DATA, RUN_FILE, RunRecord
from utils.console import say
from utils.errors import UserError, limit
from utils.files import check_file, sha256, write_bytes
from utils.json_files import read_json, to_json, write_json
from utils.provenance import versions

NUMBERS_FILE = "item_numbers.json"
_NAMES = {NUMBERS_FILE: "item numbers", LIBRARY_FILE: "ids and histories"}
# All files by which transformers makes a tokenizer, the optional ones too.
READ_OF_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "spiece.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


def write_run(
    folder: Path,
    record: RunRecord,
    tokenizer: PreTrainedTokenizerBase,
    numbers: np.ndarray,
    dataset: RecDataset,
) -> None:
    """Write the record, and what it has checksums of: the tokenizer, the item numbers, ids and
    histories; and the model card. The record comes first: a folder that holds others of our files
    has one."""
    try:
        with tempfile.TemporaryDirectory() as aside:
            tokenizer.save_pretrained(aside)
            files = {path.name: path.read_bytes() for path in sorted(Path(aside).iterdir())}
    except OSError as error:
        raise UserError(
            f"{tempfile.gettempdir()}: the tokenizer cannot be put together there "
            f"({error.strerror or error}). Free space, or name another folder in TMPDIR."
        ) from error
    files[NUMBERS_FILE] = to_json(numbers[1:].tolist()).encode()
    files[LIBRARY_FILE] = library_bytes(dataset, record.keeps_histories)
    own = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    write_json(folder / RUN_FILE, replace(record, files=own).as_json())
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_model_card(folder, record, {})


def check_files(folder: Path, record: RunRecord) -> None:
    """UserError, naming the file, where the tokenizer, the item numbers, or the ids and histories
    are not the run's. The last may have been removed, so that nobody else reads them."""
    if NUMBERS_FILE not in record.files or not record.files.keys() - _NAMES.keys():
        raise UserError(
            f"{folder / RUN_FILE}: 'files' does not name {NUMBERS_FILE} and the tokenizer. Put the "
            "original file back."
        )
    for name in READ_OF_TOKENIZERS:
        if name not in record.files and os.path.lexists(folder / name):
            raise UserError(
                f"{folder / name}: a file of a tokenizer that {RUN_FILE} does not name; it would "
                "change what the model reads. Move it away."
            )
    for name, fingerprint in record.files.items():
        path = folder / Path(name).name
        if name == LIBRARY_FILE and not os.path.lexists(path):
            continue
        check_file(path, "The model's folder is not complete.")
        if sha256(path) != fingerprint:
            what = _NAMES.get(name, "tokenizer")
            raise UserError(
                f"{path}: not the {what} that this model was trained with; the file was changed "
                "or cut short. Put the original file back."
            )


def check_data(
    folder: Path, record: RunRecord, dataset: RecDataset, optional: Sequence[str]
) -> None:
    """UserError, naming the file, where the data are not those that the run was trained on.

    optional: files that this evaluation reads where they are there, and that must not have
    changed. Which are there and which are not is said with the results.
    """
    then, now = record.fingerprints, dataset.fingerprints
    changed = [file for file in REQUIRED_DATA if then.get(file) != now[file]]
    both = then.keys() & now.keys()
    changed += [file for file in optional if file in both and then[file] != now[file]]
    if changed:
        raise UserError(
            f"--checkpoint {folder} was trained on the data set {record.dataset!r}, whose "
            f"{' and '.join(changed)} {'is' if len(changed) == 1 else 'are'} not what lies in "
            f"{dataset.folder} now. Pass the folder it was trained on, or put the original back."
        )


def check_weights(folder: Path, record: RunRecord) -> None:
    """UserError where the weights say that they are of another run. Those of older versions, and
    of other programs, say nothing."""
    saved = read_metadata(folder).get("run_id", "")
    if saved not in ("", record.run_id):
        raise UserError(
            f"{folder}: holds files of two runs: {WEIGHTS_FILE} is of run_id {limit(saved)}, "
            f"{RUN_FILE} of {limit(record.run_id)}. Put the original files back, or train again "
            "with --overwrite."
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


def warn_of_versions(record: RunRecord) -> None:
    """Say which libraries are of other versions than in training: results may differ a little."""
    then, now = record.versions, versions()
    other = [name for name in now if then.get(name) != now[name]]
    if other:
        say(
            "warning: trained with "
            + ", ".join(f"{name} {limit(then.get(name))}" for name in other)
            + "; this is "
            + ", ".join(f"{name} {now[name]!r}" for name in other)
            + ". Results may differ."
        )
