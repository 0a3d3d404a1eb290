"""``library.safetensors`` of a run's folder: the ids and titles of items, and people's histories,
so that the folder alone is enough to ask the model something (modules/recommender.py).

A safetensors file holds arrays and nothing that could run. ``names`` is JSON, as bytes; ``items``
and ``offsets`` are the histories as ``RecDataset`` has them, and are not there where people's
histories must stay where they are (``pretrain.py --no_histories``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from safetensors.numpy import load, save

from modules.data.dataset import MIN_HISTORY, RecDataset
from modules.data.reader import check_names
from modules.data.titles import LONGEST
from modules.runs.record import RunRecord
from utils.errors import UserError
from utils.files import read_file, readable
from utils.json_files import check_type, is_text, parse_json
from utils.limits import Text

LIBRARY_FILE = "library.safetensors"
MAX_LIBRARY = 1 << 31  # bytes; an interaction takes 4
_NAMES = {"names": np.uint8}  # the arrays and their types
_HISTORIES = {"items": np.int32, "offsets": np.int64}
_ELSE = "Put the original file back, or pass the data folder: Recommender.load(folder, data_dir)."


@dataclass(frozen=True, kw_only=True)
class _Names:
    """What ``names`` says. users: original ids; None without histories. titles: "" for none."""

    users: list[Text] | None
    items: list[Text]
    titles: list[Annotated[str, Meta(max_length=LONGEST)]] | None


def library_bytes(dataset: RecDataset, histories: bool) -> bytes:
    """The file of a data set. histories: with user ids and what each user had.

    Raises:
        UserError: where it would be larger than what is read again.
    """
    names = {
        "users": dataset.user_names[1:] if histories else None,
        "items": dataset.item_names[1:],
        "titles": dataset.titles[1:] if dataset.titles else None,
    }
    text = json.dumps(names, ensure_ascii=False).encode()
    arrays = {"names": np.frombuffer(text, dtype=np.uint8)}
    if histories:
        arrays |= {"items": dataset.items, "offsets": dataset.offsets}
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    if len(content) > MAX_LIBRARY:
        raise UserError(
            f"{dataset.folder}: its histories and ids take {len(content):,} bytes, more than "
            f"{MAX_LIBRARY:,}. Give --no_histories."
        )
    return content


def read_library(folder: Path, record: RunRecord, n_users: int, n_items: int) -> RecDataset:
    """The data set as the run's folder holds it: without negatives and explanations. Where it has
    no histories, users have the id "", and no items.

    Args:
        record: of the run; the checksum that it has of the file is compared elsewhere
            (``check_files``).
        n_users, n_items: of the model.

    Raises:
        UserError: where the file is missing, as in folders of older versions, or holds anything
            else than what ``library_bytes`` makes.
    """
    path = folder / LIBRARY_FILE
    if LIBRARY_FILE not in record.files or not path.exists():
        raise UserError(
            f"{folder}: holds no ids and histories of its own ({LIBRARY_FILE}), as folders of "
            "older versions do not. Pass the data folder that it was trained on: "
            "Recommender.load(folder, data_dir)."
        )
    content = read_file(path, "", MAX_LIBRARY)
    with readable(str(path)):
        arrays = load(content)
    kinds = _NAMES | (_HISTORIES if len(arrays) > 1 else {})
    found = {name: array.dtype for name, array in arrays.items() if array.ndim == 1}
    if len(found) < len(arrays) or found != kinds:
        raise _wrong(path, f"does not hold the arrays {', '.join(kinds)}, each in its type")
    names = check_type(path, parse_json(path, arrays["names"].tobytes()), _Names)
    _check_names(path, names, n_users, n_items)
    if (names.users is None) != ("items" not in arrays):
        raise _wrong(path, "has user ids without histories, or histories without user ids")
    users = ["", *names.users] if names.users is not None else [""] * (n_users + 1)
    if names.users is not None:
        _check_histories(path, arrays, n_users, n_items)
    return RecDataset(
        name=record.dataset,
        folder=folder,
        user_names=tuple(users),
        item_names=("", *names.items),
        items=arrays.get("items", np.zeros(0, dtype=np.int32)),
        offsets=arrays.get("offsets", np.zeros(n_users + 1, dtype=np.int64)),
        negatives=None,
        explanations=None,
        fingerprints=record.fingerprints,
        titles=None if names.titles is None else ("", *names.titles),
    )


def _wrong(path: Path, what: str) -> UserError:
    return UserError(f"{path}: {what}. {_ELSE}")


def _check_names(path: Path, names: _Names, n_users: int, n_items: int) -> None:
    """UserError where ids are not as many as the model has, are no ids, or titles are no texts."""
    for what, found, wanted in (
        ("user ids", names.users, n_users),
        ("item ids", names.items, n_items),
        ("titles", names.titles, n_items),
    ):
        if found is None:
            continue
        if len(found) != wanted:
            raise _wrong(path, f"holds {len(found):,} {what}; the model needs {wanted:,}")
        if not all(map(is_text, found)):
            raise _wrong(path, f"holds {what} that are no texts")
        if what != "titles":
            check_names(path, what, ["", *found])


def _check_histories(
    path: Path, arrays: Mapping[str, np.ndarray], n_users: int, n_items: int
) -> None:
    items, offsets = arrays["items"], arrays["offsets"]
    ends = len(offsets) == n_users + 1 and offsets[0] == 0 and offsets[-1] == len(items)
    # Compared, not subtracted: a difference could leave the numbers that an int64 holds.
    if not ends or (offsets[1:] <= offsets[:-1]).any() or (np.diff(offsets) < MIN_HISTORY).any():
        raise _wrong(path, f"'offsets' does not cut {n_users:,} histories out of 'items'")
    if items.min() < 1 or items.max() > n_items:
        raise _wrong(path, f"a history holds an item that is none from 1 to {n_items:,}")
