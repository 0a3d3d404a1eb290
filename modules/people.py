"""Who is asked for: users of the data by their original ids, or somebody who is none by a history.

Ids are what the raw data had, so that anything may stand in one: commas, dashes, blanks.
"""

import csv
import difflib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from modules.data.dataset import RecDataset
from utils.errors import UserError, limit

NEWCOMER = 0  # the number of somebody who is not in the data


class Person(NamedTuple):
    """Somebody to recommend to."""

    user: int  # NEWCOMER for somebody who is not in the data
    name: str
    history: np.ndarray  # (n,) items, oldest first, n >= 1


class Users(Sequence[Person]):
    """Users of the data, each made a ``Person`` when asked for: of a million, none is kept.

    Args:
        users: (n,) of them.
        held_out: so many of each user's last items are left out: 1 asks what a test asks.
    """

    def __init__(self, dataset: RecDataset, users: np.ndarray, held_out: int) -> None:
        self._dataset, self._users, self._held_out = dataset, users, held_out

    def __len__(self) -> int:
        return len(self._users)

    @overload
    def __getitem__(self, place: int) -> Person: ...
    @overload
    def __getitem__(self, place: slice) -> "Users": ...
    def __getitem__(self, place: int | slice) -> "Person | Users":
        if isinstance(place, slice):
            return Users(self._dataset, self._users[place], self._held_out)
        user = int(self._users[place])
        history = self._dataset.history(user)
        history = history[: len(history) - self._held_out]
        return Person(user, self._dataset.user_names[user], history)

    def each_once(self) -> "Users":
        """The same without repetitions, in the order of their first places."""
        _, first = np.unique(self._users, return_index=True)
        return Users(self._dataset, self._users[np.sort(first)], self._held_out)


class Name(NamedTuple):
    """An original id that somebody wrote."""

    where: str  # the flag, or the file and the line, for messages
    text: str


def read_names(flag: str, path: Path) -> list[Name]:
    """The file of a flag, an original id on each line -> its lines; blank ones at the end are none.

    Lines end as on any system. What else is a line end to Unicode may stand in an id.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{flag} {path}: cannot be read ({reason}).") from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UserError(f"{flag} {path}: the file is empty. Each line is an original id.")
    return [Name(f"{path}, line {n}", line) for n, line in enumerate(lines, start=1)]


def _number(numbers: Mapping[str, int], text: str) -> int | None:
    """The number of an original id; blanks around it do not matter where it has none itself."""
    return numbers.get(text) or numbers.get(text.strip())


def split_history(dataset: RecDataset, text: str) -> list[Name]:
    """``--history``: original ids by commas, quoted as in CSV where they hold a comma.

    A text that is an item as it stands, and is none when it is divided, need not be quoted.

    Raises:
        UserError: where a quotation mark is not closed.
    """
    numbers = dataset.number_of_item
    whole = [Name("--history", text)] if _number(numbers, text) else None
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True))
    except csv.Error as error:
        if whole:
            return whole
        raise UserError(
            f"--history {limit(text)}: {error}. Ids are quoted as in CSV: an id with a comma as "
            '"a,b", a quotation mark in such an id twice. Or give --history_file.'
        ) from error
    parts = [part for row in rows for part in row] or [""]
    if whole and any(_number(numbers, part) is None for part in parts):
        return whole
    return [Name("--history", part) for part in parts]


def known(
    dataset: RecDataset, names: Sequence[Name], held_out: int, strict: bool = True
) -> tuple[Users, list[Name]]:
    """Users of the data set, and the names of those who are none.

    Args:
        names: of users.
        held_out: see ``Users``.
        strict: let nobody be unknown.

    Raises:
        UserError: where somebody, or without ``strict`` everybody, is unknown.
    """
    users = [_number(dataset.number_of_user, name.text) for name in names]
    unknown = [name for name, user in zip(names, users) if user is None]
    if unknown and (strict or len(unknown) == len(names)):
        raise _unknown(dataset, unknown[0], "user", dataset.user_names)
    found = np.array([user for user in users if user is not None], dtype=np.int64)
    return Users(dataset, found, held_out), unknown


def newcomer(dataset: RecDataset, names: Sequence[Name]) -> Person:
    """Somebody who is not in the data. names: of items, oldest first."""
    items = np.array(items_of(dataset, names), dtype=np.int32)
    return Person(NEWCOMER, "somebody who is not in the data", items)


def items_of(dataset: RecDataset, names: Sequence[Name]) -> list[int]:
    """The items of these original ids; UserError where one is no item's."""
    items = []
    for name in names:
        item = _number(dataset.number_of_item, name.text)
        if item is None:
            raise _unknown(dataset, name, "item", dataset.item_names)
        items.append(item)
    return items


def _unknown(dataset: RecDataset, name: Name, what: str, names: Sequence[str]) -> UserError:
    if not name.text.strip():
        return UserError(f"{name.where}: blank, where the {what}'s original id must be.")
    near = difflib.get_close_matches(name.text, names[1:], n=3)
    maps = dataset.folder / "datamaps.json"  # of a data folder; a run's folder has none
    lists = f"{maps} lists all {len(names) - 1:,} under id2{what}"
    if not maps.exists():
        lists = f"Recommender.{what}_ids are all {len(names) - 1:,}"
    return UserError(
        f"{name.where}: {what} {limit(name.text)} is not in the data. {lists}"
        + (f"; closest: {', '.join(map(limit, near))}." if near else "; none is similar.")
    )
