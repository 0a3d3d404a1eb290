"""The files of a data folder, read and checked line by line.

Every id, line and record is checked here, and nowhere else, to be as data/README.md says; an error
names the file and the line or record, the value, and what it must be.
"""

import hashlib
import os
import re
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from modules.data.dataset import MIN_HISTORY, Explanations, RecDataset
from modules.data.titles import ITEMS_FILE, parse_titles
from utils.console import say
from utils.errors import UserError, limit
from utils.files import BYTE_ORDER_MARK, as_typed, read_file
from utils.json_files import is_text, parse_json

T = TypeVar("T")
SPLITS = ("train", "val", "test")

_NUMBERS = re.compile(rb"[0-9]{1,18}(?:[ \t]+[0-9]{1,18})*")


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


def _read_rows(
    path: Path, content: bytes, n_users: int, n_items: int
) -> tuple[list[int], array, list[int]]:
    """Lines ``user item item ...`` -> (users, flat items, row ends); every id checked.

    Line ends of any system are read, and blanks and blank lines at the end. A blank line between
    others may be a user that was lost.
    """
    users: list[int] = []
    flat = array("q")
    ends: list[int] = []
    line_of: dict[int, int] = {}
    lines = content.removeprefix(BYTE_ORDER_MARK).rstrip().splitlines()
    for number, line in enumerate(map(bytes.strip, lines), start=1):
        where = f"{path}, line {number}"
        if not line:
            raise UserError(f"{where}: the line is blank. Each line is: user item item ...")
        if not _NUMBERS.fullmatch(line):
            words = re.split(rb"[ \t]+", line)
            word = next(w for w in words if not re.fullmatch(rb"[0-9]{1,18}", w))
            raise UserError(
                f"{where}: {limit(word.decode('utf-8', 'replace'))} is not an id. Ids are "
                "whole numbers from 1 up, written in at most 18 digits, with blanks between."
            )
        user, *row = map(int, line.split())
        if not 1 <= user <= n_users:
            raise UserError(
                f"{where}: user {user} is not in datamaps.json, which has users 1 to {n_users}."
            )
        if user in line_of:
            raise UserError(
                f"{where}: user {user} is already on line {line_of[user]}. A user has one line."
            )
        if row and (min(row) < 1 or max(row) > n_items):
            bad = next(i for i in row if not 1 <= i <= n_items)
            raise UserError(
                f"{where}: item {bad} is not in datamaps.json, which has items 1 to {n_items}."
            )
        line_of[user] = number
        users.append(user)
        flat.extend(row)
        ends.append(len(flat))
    if not users:
        raise UserError(f"{path}: the file is empty. Each line is: user item item ...")
    if len(users) < n_users:
        missing = next(u for u in range(1, n_users + 1) if u not in line_of)
        raise UserError(
            f"{path}: user {missing} of datamaps.json has no line; {len(users)} of {n_users} have."
        )
    return users, flat, ends


def _read_sequences(
    path: Path, content: bytes, n_users: int, n_items: int
) -> tuple[np.ndarray, np.ndarray]:
    users, flat, ends = _read_rows(path, content, n_users, n_items)
    values = np.frombuffer(flat, dtype=np.int64).astype(np.int32)
    lengths = np.diff(np.asarray([0, *ends], dtype=np.int64))
    short = np.flatnonzero(lengths < MIN_HISTORY)
    if short.size:
        row = int(short[0])
        raise UserError(
            f"{path}, line {row + 1}: user {users[row]} has {lengths[row]} items, fewer than "
            f"{MIN_HISTORY}. Leave-one-out needs a test item, a validation item and two more."
        )
    order = np.argsort(np.asarray(users))  # lines may come in any order
    offsets = np.concatenate([[0], np.cumsum(lengths[order])])
    starts = np.array([0, *ends[:-1]], dtype=np.int64)[order]
    gather = np.repeat(starts - offsets[:-1], lengths[order]) + np.arange(len(values))
    return values[gather], offsets


def _read_negatives(
    path: Path, content: bytes, items: np.ndarray, offsets: np.ndarray, n_items: int
) -> np.ndarray:
    n_users = len(offsets) - 1
    users, flat, ends = _read_rows(path, content, n_users, n_items)
    counts = np.diff(np.asarray([0, *ends]))
    values = np.frombuffer(flat, dtype=np.int64).astype(np.int32)
    for row, user in enumerate(users):
        where = f"{path}, line {row + 1}"
        if counts[row] != counts[0] or counts[row] == 0:
            raise UserError(
                f"{where}: user {user} has {counts[row]} negatives, the first line {counts[0]}. "
                "Each line needs as many, and at least one."
            )
        drawn = values[ends[row] - counts[row] : ends[row]]
        had = np.intersect1d(drawn, items[offsets[user - 1] : offsets[user]])
        if had.size:
            raise UserError(
                f"{where}: negative {had[0]} is an item that user {user} had (sequential.txt)."
            )
    rows = values.reshape(n_users, -1)
    _count_repeats(path, rows)
    return rows[np.argsort(np.asarray(users))]


def _count_repeats(path: Path, rows: np.ndarray) -> None:
    """Says how many lines of (U, n) negatives, in the order of the file, hold an item twice, as
    some of the published ones do."""
    ordered = np.sort(rows, axis=1)
    repeats = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if repeats.size:
        say(
            f"{path}: {repeats.size:,} of {len(rows):,} lines hold an item twice, line "
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
