"""The files of a data folder, read and checked line by line.

Every id, line and record is checked here, and nowhere else, to be as data/README.md says; an error
names the file and the line or record, the value, and what it must be.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from modules.data.dataset import MIN_HISTORY, Explanations, RecDataset
from modules.data.id_rows import read_rows
from modules.data.titles import ITEMS_FILE, parse_titles
from utils.console import say
from utils.errors import UserError, limit
from utils.files import as_typed, read_file
from utils.json_files import is_text, parse_json

T = TypeVar("T")
SPLITS = ("train", "val", "test")

_AT_A_TIME = 4096  # users whose negatives are compared with their histories


def check_data_folder(folder: str | Path) -> None:
    """UserError where there is no such folder."""
    if not os.path.isdir(folder):
        raise UserError(
            f"data folder {str(folder)!r} does not exist or is not a folder. It holds "
            "sequential.txt and datamaps.json (see data/README.md)."
        )


def load_dataset(folder: str | Path) -> RecDataset:
    """Read and check a data folder.

    ``sequential.txt`` and ``datamaps.json`` must be there; ``negative.txt``, ``explanation.json``
    and ``items.json`` may be missing.

    Raises:
        UserError: naming the file and the line or record, for anything that is not as
            data/README.md describes it.
    """
    folder = Path(folder)
    check_data_folder(folder)
    fingerprints = {}

    def read(path: Path, missing: str) -> bytes:
        content = read_file(path, missing)
        if path.name != ITEMS_FILE:  # what items are called changes no run and no result
            fingerprints[path.name] = hashlib.sha256(content).hexdigest()
        return content

    sequences, maps = folder / "sequential.txt", folder / "datamaps.json"
    needed = "Every data folder needs it (data/README.md)."
    rows = read(sequences, needed)
    user_names, item_names = _read_maps(maps, read(maps, needed))
    n_users, n_items = len(user_names) - 1, len(item_names) - 1
    items, offsets = _read_sequences(sequences, rows, n_users, n_items)

    # Whatever has an optional file's name, be it a folder or a broken link, is meant to be read;
    # only where nothing has that name is the file missing.
    lost = "A link of that name leads nowhere; fix it, or remove it."

    def optional(name: str, parse: Callable[..., T], *known: Any) -> T | None:
        path = folder / name
        return parse(path, read(path, lost), *known) if os.path.lexists(path) else None

    return RecDataset(
        name=as_typed(folder).name,
        folder=folder,
        user_names=user_names,
        item_names=item_names,
        items=items,
        offsets=offsets,
        negatives=optional("negative.txt", _read_negatives, items, offsets, n_items),
        explanations=optional("explanation.json", _read_explanations, n_users, n_items),
        fingerprints=fingerprints,
        titles=optional(ITEMS_FILE, parse_titles, n_items),
    )


def _read_maps(path: Path, content: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    maps = parse_json(path, content)
    names = []
    for key in ("id2user", "id2item"):
        table = maps.get(key) if isinstance(maps, dict) else None
        if not isinstance(table, dict) or not table:
            raise UserError(f'{path}: key {key!r} must hold a map such as {{"1": "A1YJ..."}}.')
        row = [""]
        for number in range(1, len(table) + 1):
            name = table.get(str(number))
            if not is_text(name):
                raise UserError(
                    f"{path}: {key} has {len(table)} entries but {str(number)!r} is "
                    f"{limit(name)}. Ids run from 1 to the number of entries without gaps, and "
                    "each maps to a string."
                )
            row.append(name)
        check_names(path, key, row)
        names.append(tuple(row))
    return names[0], names[1]


def check_names(path: Path, key: str, names: list[str]) -> None:
    """UserError where an original id is blank or given twice: it could name neither. names: [0] is
    no id."""
    number_of: dict[str, int] = {}
    for number, name in enumerate(names[1:], start=1):
        if not name.strip():
            raise UserError(
                f"{path}: {key} {str(number)!r} is {limit(name)}, which is blank. Give each an "
                "original id."
            )
        if name in number_of:
            raise UserError(
                f"{path}: {key} {str(number_of[name])!r} and {str(number)!r} are both "
                f"{limit(name)}. Original ids must differ, each from all others."
            )
        number_of[name] = number


def _read_sequences(
    path: Path, content: bytes, n_users: int, n_items: int
) -> tuple[np.ndarray, np.ndarray]:
    users, values, ends = read_rows(path, content, n_users, n_items)
    lengths = np.diff(ends, prepend=0)
    short = np.flatnonzero(lengths < MIN_HISTORY)
    if short.size:
        row = int(short[0])
        raise UserError(
            f"{path}, line {row + 1}: user {users[row]} has {lengths[row]} items, fewer than "
            f"{MIN_HISTORY}. Leave-one-out needs a test item, a validation item and two more."
        )
    order = np.argsort(users)  # lines may come in any order
    offsets = np.concatenate([[0], np.cumsum(lengths[order])])
    starts = (ends - lengths)[order]
    gather = np.repeat(starts - offsets[:-1], lengths[order]) + np.arange(len(values))
    return values[gather], offsets


def _read_negatives(
    path: Path, content: bytes, items: np.ndarray, offsets: np.ndarray, n_items: int
) -> np.ndarray:
    n_users = len(offsets) - 1
    users, values, ends = read_rows(path, content, n_users, n_items)
    counts = np.diff(ends, prepend=0)
    uneven = np.flatnonzero((counts != counts[0]) | (counts == 0))
    even = int(uneven[0]) if uneven.size else n_users  # lines, up to the first that is not
    rows = values[: even * counts[0]].reshape(even, counts[0])
    ordered = np.sort(rows, axis=1)
    for start in range(0, even, _AT_A_TIME):
        part = slice(start, min(start + _AT_A_TIME, even))
        had = _had(users[part], ordered[part], items, offsets)
        if had.any():
            row = int(had.any(axis=1).argmax())
            raise UserError(
                f"{path}, line {start + row + 1}: negative {ordered[part][row][had[row]][0]} is an "
                f"item that user {users[part][row]} had (sequential.txt)."
            )
    if uneven.size:
        raise UserError(
            f"{path}, line {even + 1}: user {users[even]} has {counts[even]} negatives, the first "
            f"line {counts[0]}. Each line needs as many, and at least one."
        )
    _count_repeats(path, ordered)
    return rows[np.argsort(users)]


def _had(users: np.ndarray, rows: np.ndarray, items: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(n, c) bool: which of (n, c) items had these (n,) users?"""
    first, lengths = offsets[users - 1], offsets[users] - offsets[users - 1]
    own = np.repeat(first - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    width = np.int64(max(items.max(), rows.max()) + 1)
    nth = np.arange(len(users))
    known = np.sort(np.repeat(nth, lengths) * width + items[own])
    asked = nth[:, None] * width + rows
    at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return known[at] == asked


def _count_repeats(path: Path, ordered: np.ndarray) -> None:
    """Says how many lines of (U, n) negatives, in the order of the file, hold an item twice, as
    some of the published ones do. ordered: each line from the smallest up."""
    repeats = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if repeats.size:
        say(
            f"{path}: {repeats.size:,} of {len(ordered):,} lines hold an item twice, line "
            f"{repeats[0] + 1} first: prompts list it as often, rankings hold it once"
        )


def _read_explanations(
    path: Path, content: bytes, n_users: int, n_items: int
) -> dict[str, Explanations]:
    data = parse_json(path, content)
    if not isinstance(data, dict) or any(not isinstance(data.get(s), list) for s in SPLITS):
        raise UserError(f"{path}: must be a map with the lists 'train', 'val' and 'test'.")
    return {
        split: _checked_records(f"{path}, {split}", data[split], n_users, n_items)
        for split in SPLITS
    }


def _checked_records(where: str, records: list, n_users: int, n_items: int) -> Explanations:
    if not records:
        raise UserError(f"{where}: the list is empty; each split needs a record.")
    users, items, texts, features = [], [], [], []
    for row, record in enumerate(records):
        at = f"{where}[{row}]"
        if not isinstance(record, dict):
            raise UserError(
                f"{at}: {limit(record)} is not a record with user, item and explanation."
            )
        for key, top in (("user", n_users), ("item", n_items)):
            value = record.get(key)
            if type(value) is not int or not 0 < value <= top:
                raise UserError(
                    f"{at}: {key!r} is {limit(value)}; it must be a whole number from 1 to {top}."
                )
        text, feature = record.get("explanation"), record.get("feature", "")
        if not is_text(text):
            raise UserError(f"{at}: 'explanation' is {limit(text)}; it must be a text.")
        if not is_text(feature):
            raise UserError(f"{at}: 'feature' is {limit(feature)}; it must be a text.")
        if not text.strip():
            continue
        users.append(record["user"])
        items.append(record["item"])
        texts.append(text)
        features.append(feature)
    if not texts:
        raise UserError(
            f"{where}: each of the {len(records):,} records has a blank explanation; each split "
            "needs a record with a text."
        )
    if blank := len(records) - len(texts):
        say(
            f"{where}: {blank:,} of {len(records):,} records have a blank explanation, and are "
            "left out"
        )
    return Explanations(
        np.asarray(users, dtype=np.int32),
        np.asarray(items, dtype=np.int32),
        tuple(texts),
        tuple(features),
    )
