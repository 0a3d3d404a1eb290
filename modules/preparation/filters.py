"""Interactions -> the users, items and histories of a data folder: filters, numbering, files.

Everything here is arrays, one entry per interaction; this file knows no texts. Every draw takes
its generator as an argument.
"""

import json
from collections.abc import Callable, Iterable
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modules.data.dataset import MIN_HISTORY, HeldOut, RecDataset
from modules.preparation.clock import ranks
from modules.preparation.codes import Codes
from modules.preparation.rows import Rows
from utils.errors import UserError
from utils.files import whole_file

NUMBERINGS = ("random", "first_seen")
USERS_A_DRAW = 1024  # users whose negatives are drawn in one call


class Split(IntEnum):
    """The part of the data that an interaction, or its explanation, belongs to."""

    TRAIN = 0
    VAL = 1
    TEST = 2


class Interactions(NamedTuple):
    """All good rows of a raw file, in its order. Users and items are numbers from 0 up, in the
    order of their first rows."""

    users: np.ndarray  # (n,) int32
    items: np.ndarray  # (n,) int32
    times: np.ndarray  # (n,) int64, to be compared: equal where the times are
    ratings: np.ndarray  # (n,) float32
    user_names: list[str]
    item_names: list[str]


class Kept(NamedTuple):
    """What the filters left, user by user, the oldest interaction first; ids from 1 up."""

    rows: np.ndarray  # (m,) int64: which row of the raw file
    users: np.ndarray  # (m,) int32
    items: np.ndarray  # (m,) int32
    user_names: tuple[str, ...]  # [0] is "", so that user u is user_names[u]
    item_names: tuple[str, ...]
    left_out: dict[str, int]  # filter -> interactions that it removed
    tied: float  # share of users whose last two interactions have the same time
    users_left_out: dict[str, int]  # filter -> users that have no interaction after it
    items_left_out: dict[str, int]

    @property
    def offsets(self) -> np.ndarray:
        """(U + 1,) int64: user u's history is items[offsets[u - 1]:offsets[u]]."""
        return np.searchsorted(self.users, np.arange(1, len(self.user_names) + 1)).astype(np.int64)

    def held_out(self) -> np.ndarray:
        """(m,) int8 of ``Split``: TEST for each user's last item, VAL for the one before it."""
        split = np.full(len(self.users), Split.TRAIN, dtype=np.int8)
        split[self.offsets[1:] - HeldOut.TEST] = Split.TEST
        split[self.offsets[1:] - HeldOut.VALIDATION] = Split.VAL
        return split


def gather(chunks: Iterable[Rows]) -> Interactions:
    """All rows of a file as arrays."""
    users, items = Codes(), Codes()
    parts: list[tuple[np.ndarray, ...]] = [
        tuple(np.empty(0, kind) for kind in (np.int64, np.int64, np.float32))
    ]
    for rows in chunks:
        users.add(rows.users)
        items.add(rows.items)
        parts.append((*rows.times, np.array(rows.ratings, np.float32)))
    wholes, part_units, ratings = map(np.concatenate, zip(*parts))
    (user_numbers, user_names), (item_numbers, item_names) = users.result(), items.result()
    times = ranks(wholes, part_units)
    return Interactions(user_numbers, item_numbers, times, ratings, user_names, item_names)


def keep(
    data: Interactions,
    min_rating: float | None,
    core: int,
    numbering: str,
    rng: np.random.Generator,
) -> Kept:
    """Filter, sort, number.

    In this order: interactions rated below ``min_rating`` are removed; of a user's repeated item
    the first in time is kept; then users and items with fewer than ``core`` interactions are
    removed, again and again, until all have that many. A user always needs ``MIN_HISTORY``.
    Equal times keep the order of the file.

    Args:
        numbering: "random": users and items get random numbers. "first_seen": users are numbered
            in the order of the file, items in that of the histories, user by user, as in the
            published sets; a test item's number is then often the one before it plus 1. With
            "random" users get random numbers too, because dumps are often sorted by item:
            neighbours would share an item.

    Raises:
        UserError: where no interaction is left.
    """
    account = _Account(data)
    rows = np.arange(len(data.users))
    if min_rating is not None:
        rows = rows[data.ratings >= min_rating]
        account.after(f"rated below {min_rating:g}", rows)
    rows = _first_of_pairs(data, rows)
    account.after("repeated pairs", rows)
    least = max(core, MIN_HISTORY)
    pairs = data.users[rows], data.items[rows]
    rows = rows[core_filter(*pairs, least, core)]
    account.after(f"users below {least} or items below {core}", rows)
    if not len(rows):
        raise UserError(_nothing_left(*pairs, len(data.users), core, min_rating))
    kept = Kept(
        *_numbered(data, rows, numbering, rng),
        left_out=account.rows,
        tied=0.0,
        users_left_out=account.users,
        items_left_out=account.items,
    )
    times, ends = data.times[kept.rows], kept.offsets[1:]
    return kept._replace(
        tied=float((times[ends - HeldOut.TEST] == times[ends - HeldOut.VALIDATION]).mean())
    )


def _first_of_pairs(data: Interactions, rows: np.ndarray) -> np.ndarray:
    """Of each user's and item's rows the first in time, in the order of the file."""
    pairs = data.users[rows] * np.int64(len(data.item_names)) + data.items[rows]
    ordered = np.sort(pairs)
    repeated = np.isin(pairs, ordered[1:][ordered[1:] == ordered[:-1]])
    some, pairs = rows[repeated], pairs[repeated]
    order = np.lexsort((data.times[some], pairs))  # equal times keep the order of the file
    is_later = pairs[order][1:] == pairs[order][:-1]
    return np.delete(rows, np.flatnonzero(repeated)[order[1:][is_later]])


class _Account:
    """Where rows, users and items went, filter by filter."""

    def __init__(self, data: Interactions) -> None:
        self._data = data
        self._left = self._sizes(np.arange(len(data.users)))
        self.rows: dict[str, int] = {}
        self.users: dict[str, int] = {}
        self.items: dict[str, int] = {}

    def _sizes(self, rows: np.ndarray) -> tuple[int, int, int]:
        codes = self._data.users[rows], self._data.items[rows]
        return len(rows), *(int(np.count_nonzero(np.bincount(code))) for code in codes)

    def after(self, name: str, rows: np.ndarray) -> None:
        """Enter what a filter removed. rows: those that it left."""
        left = self._sizes(rows)
        for counts, before, now in zip((self.rows, self.users, self.items), self._left, left):
            counts[name] = before - now
        self._left = left


def _nothing_left(
    users: np.ndarray, items: np.ndarray, n_read: int, core: int, min_rating: float | None
) -> str:
    """What to do where the core filter left nothing. users, items: (n,) what it was given."""
    said = f"--core {core}: of {n_read:,} interactions none is left"
    most = int(np.bincount(users).max()) if len(users) else 0
    rating = " or --min_rating" if min_rating is not None else ""
    if most < MIN_HISTORY:
        lower = " Give a lower --min_rating, or" if min_rating is not None else " Give"
        return (
            f"{said}: a user needs {MIN_HISTORY} different items, and none has more than {most}."
            f"{lower} a file with longer histories."
        )
    good, bad = 1, min(core, most + 1)  # a core that leaves some, and one that leaves none
    while bad - good > 1:
        middle = (good + bad) // 2
        if core_filter(users, items, max(middle, MIN_HISTORY), middle).any():
            good = middle
        else:
            bad = middle
    return f"{said}. --core {good} is the highest that leaves some. Give a lower --core{rating}."


def core_filter(
    users: np.ndarray, items: np.ndarray, least_of_user: int, least_of_item: int
) -> np.ndarray:
    """(n,) bool: the largest part in which every user has ``least_of_user`` interactions and every
    item ``least_of_item``."""
    rows = np.arange(len(users))
    while True:
        of_user = np.bincount(users[rows])[users[rows]]
        of_item = np.bincount(items[rows])[items[rows]]
        stays = (of_user >= least_of_user) & (of_item >= least_of_item)
        if stays.all():
            kept = np.zeros(len(users), dtype=bool)
            kept[rows] = True
            return kept
        rows = rows[stays]


def _numbered(
    data: Interactions, rows: np.ndarray, numbering: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """The first five fields of Kept. rows: in the order of the file."""

    def numbers(codes: np.ndarray, names: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        first = np.full(len(names), len(codes))
        first[codes[::-1]] = np.arange(len(codes))[::-1]  # of several places the last one stays
        seen = codes[np.sort(first[first < len(codes)])]
        if numbering == "random":
            seen = rng.permutation(seen)
        number = np.zeros(len(names), dtype=np.int32)
        number[seen] = np.arange(1, len(seen) + 1)
        return number, ("", *(names[code] for code in seen))

    user_number, user_names = numbers(data.users[rows], data.user_names)
    # The rows ascend, and equal keys keep their order.
    rows = rows[np.lexsort((data.times[rows], user_number[data.users[rows]]))]
    item_number, item_names = numbers(data.items[rows], data.item_names)
    users, items = user_number[data.users[rows]], item_number[data.items[rows]]
    return rows, users, items, user_names, item_names


# ------------------------------------------------------------------------------------ files


def write_histories(folder: Path, kept: Kept) -> None:
    """``sequential.txt`` and ``datamaps.json``."""
    offsets = kept.offsets.tolist()
    words = np.array([str(item) for item in range(len(kept.item_names))], dtype=object)
    items = words[kept.items].tolist()
    with whole_file(folder / "sequential.txt") as file:
        file.writelines(
            f"{user} {' '.join(items[start:end])}\n".encode()
            for user, (start, end) in enumerate(pairwise(offsets), start=1)
        )
    maps = {
        key: {str(number): name for number, name in enumerate(names) if number}
        for key, names in (("id2user", kept.user_names), ("id2item", kept.item_names))
    }
    with whole_file(folder / "datamaps.json") as file:
        file.write(json.dumps(maps, indent=0, ensure_ascii=False).encode("utf-8") + b"\n")


def write_negatives(
    folder: Path, dataset: RecDataset, draw: Callable[[np.ndarray], np.ndarray]
) -> None:
    """``negative.txt``. draw: (B,) users -> (B, count) items that they never had."""
    n_users, n_items = dataset.n_users, dataset.n_items
    # Words of one width, filled up with zeros that are taken out again: a tenth of the time that
    # joining texts takes.
    word = f"S{len(str(max(n_users, n_items))) + 1}"
    items = np.array([f" {item}" for item in range(n_items + 1)], dtype=word)
    with whole_file(folder / "negative.txt") as file:
        for start in range(1, n_users + 1, USERS_A_DRAW):
            users = np.arange(start, min(start + USERS_A_DRAW, n_users + 1))
            ends = np.full(len(users), b"\n", dtype=word)
            words = np.column_stack([users.astype(word), items[draw(users)], ends])
            letters = words.view(np.uint8)
            file.write(letters[letters != 0].tobytes())
