"""Raw reviews and interactions: which rows are good.

A row is good when it has a user, an item and, where the file has such a column, a time (and a
rating, where one is needed). Reading the text never makes a row bad, so the k-th good row is the
same row whatever is read of it: the passes of prepare.py rely on that.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.preparation import formats
from modules.preparation.clock import Clock, Times
from modules.preparation.columns import BadLines, Columns
from modules.preparation.formats import Asked, Format
from modules.preparation.lines import NOT_UTF8
from modules.preparation.roles import USER_AND_ITEM, Roles, find_roles, is_time_name
from modules.preparation.times import problem_of, read_moment
from modules.preparation.values import identities, is_unicode, many_numbers, many_words, number
from utils.errors import UserError, limit
from utils.files import check_file


@dataclass(frozen=True)
class RawFile:
    """A file, and how to read it."""

    path: Path
    how: Format
    roles: Roles
    no_time: bool = False  # the user says that there is none

    def with_texts(self, role: str | None) -> "RawFile":
        """The file, whose rows are bad where the column of ``role`` is not UTF-8, or where a line
        of JSON gives a key twice that any pass reads. It is so in every pass, whether the texts are
        read in it or not: a row that is bad in one alone would shift the texts of all behind it."""
        text = None if role is None else getattr(self.roles, role)
        table, (user, item, time, rating, *_) = self.how.table, self.roles
        if table is not None and text is not None:
            table = replace(table, utf8=text)
        once = tuple(name for name in (user, item, time, rating, text) if name is not None)
        return replace(self, how=replace(self.how, table=table, once=once))


class Rows(NamedTuple):
    """Good rows: lists and arrays of equal length."""

    users: list[str]
    items: list[str]
    times: Times  # 0 where the file has none
    ratings: list[float]  # 0 where they are not read; NaN where a row that is good has none
    texts: list[str]  # of the role that was asked for, "" where a row has none; [] without one


def open_raw(
    path: str | Path,
    kind: str | None,
    header: list[str] | None,
    given: dict[str, str | None],
    asked: Asked | None = None,
) -> RawFile:
    """Find out how to read a file.

    Args:
        kind: format; None: by the file's ending.
        header: column names of a table that has no header line.
        given: role -> column; None, or no entry: guess it.
        asked: further flags of reading.

    Raises:
        UserError: where the file or a column is missing.
    """
    path, asked = Path(path), asked or Asked()
    if path.is_dir():
        raise UserError(f"{path}: is a folder; it must be a file. Name the file in it.")
    check_file(path, "Name a file of reviews or interactions.")
    how = formats.find_format(path, kind, header, asked, USER_AND_ITEM)
    sample = formats.sample(path, how, {name for name in given.values() if name is not None})
    roles = find_roles(path, how.kind, sample, given, asked.no_time)
    return RawFile(path, how, roles, asked.no_time)


def read_rows(
    raw: RawFile,
    bad: BadLines,
    done: Callable[[float], None],
    rating: bool = False,
    text: str | None = None,
    rated: bool = False,
) -> Iterator[Rows]:
    """All good rows in the order of the file, in chunks.

    Args:
        bad: takes the other rows.
        done: called with the share of the file that is read, 0 to 1.
        rating: whether ratings are read; a row without one is then bad.
        text: the role to be read as texts, "text" or "title".
        rated: whether ratings are read of the rows that have one; the others are good all the same.

    Raises:
        UserError: where the times have more than one unit, or the file cannot be read.
    """
    needed = ["user", "item"]
    if raw.roles.time:
        needed.append("time")
    if rating:
        needed.append("rating")
    roles = [*needed, *([text] if text else ()), *(["rating"] if rated and not rating else ())]
    names = [getattr(raw.roles, role) for role in roles]
    clock = Clock(raw.path, raw.roles.time, bad) if raw.roles.time else None
    chunks = formats.column_chunks(raw.path, raw.how, names, bad, _row_test(raw), _watched(raw))
    for chunk in chunks:
        done(chunk.share)
        yield _rows(chunk, dict(zip(roles, names)), needed, clock, bad)
    if clock:
        clock.check_sizes()


def _rows(
    chunk: Columns,
    columns: dict[str, str],
    needed: list[str],
    clock: Clock | None,
    bad: BadLines,
) -> Rows:
    """The good rows of a chunk. columns: of each role, in the order of the chunk's values."""
    raw = dict(zip(columns, chunk.values))
    made = {role: _MAKE[role](raw[role]) for role in columns if role != "time"}
    count = len(raw["user"])
    times, no_times = Times(np.zeros(count, np.int64), np.zeros(count, np.int64)), []
    if clock:
        times, no_times = clock.read(raw["time"], chunk.numbers, chunk.unit)
    wrong: dict[int, str] = {}  # place -> the first role that is bad
    for role in reversed(needed):
        if role == "time":
            wrong |= dict.fromkeys(no_times, role)
        elif None in made[role]:
            wrong |= {k: role for k, value in enumerate(made[role]) if value is None}
    for k in sorted(wrong):
        role = wrong[k]
        problem = f"the {role}, {columns[role]!r}, is {_shown(raw[role][k])}; it must be "
        bad.add(chunk.numbers[k], chunk.unit, problem + _must_be(role, raw[role][k]))
    for role in ("user", "item"):
        _remark_blanks(role, raw[role], made[role], chunk, bad)
    if wrong:
        made = {
            role: [value for k, value in enumerate(column) if k not in wrong]
            for role, column in made.items()
        }
        times = Times(*(np.delete(part, list(wrong)) for part in times))
    none = [0.0] * len(made["user"])
    texts = made.get("text", made.get("title", []))
    ratings = [math.nan if value is None else value for value in made.get("rating", none)]
    return Rows(made["user"], made["item"], times, ratings, texts)


def _remark_blanks(role: str, before: list, after: list, chunk: Columns, bad: BadLines) -> None:
    """Count ids that lost blanks: two ids of the file may have become one."""
    if before == after:
        return
    changed = [
        k
        for k, (old, new) in enumerate(zip(before, after))
        if old is not new and isinstance(old, str) and new is not None and old != new
    ]
    if changed:
        text = f"rows with blanks around the {role}'s id, which are taken off"
        bad.remark(text, chunk.numbers[changed[0]], chunk.unit, len(changed))


def _row_test(raw: RawFile) -> Callable[[list[str]], bool]:
    """Says of the fields of a line whether they look like a row: user, item, and a time or rating
    that can be read. Where there is neither, prose has blanks after its commas, ids do not."""
    if raw.how.table is None:
        return lambda fields: False
    place = {name: k for k, name in enumerate(raw.how.table.names)}
    at = {role: place.get(name) for role, name in raw.roles._asdict().items()}

    width = len(raw.how.table.names)
    needed = [at[role] for role in ("user", "item", "time", "rating") if at[role] is not None]

    def looks_like_row(fields: list[str]) -> bool:
        is_whole = len(fields) == width
        if len(fields) <= max(needed):
            return False
        ids = fields[at["user"]], fields[at["item"]]
        if not all(name.strip() for name in ids):
            return False
        have_blanks = any(letter.isspace() for name in ids for letter in name)
        if have_blanks and not is_whole:  # as in prose, where a comma is not what separates fields
            return False
        if at["time"] is not None:
            return read_moment(fields[at["time"]]) is not None
        if at["rating"] is not None:
            return number(fields[at["rating"]]) is not None
        return is_whole and not have_blanks

    return looks_like_row


def _watched(raw: RawFile) -> Callable[[str], bool] | None:
    """Of a key of JSON that none of the first lines had: is it a time that would be missed?"""
    return None if raw.roles.time or raw.no_time else is_time_name


def _shown(value: Any) -> str:
    """For messages; a byte that is not UTF-8 as \\xe4."""
    return limit(value).replace("\\udc", "\\x") if isinstance(value, str) else limit(value)


def _must_be(role: str, value: Any) -> str:
    if role == "time":
        return problem_of(value)
    if role == "rating":
        return "a number"
    if isinstance(value, str) and not is_unicode(value):
        return f"an id, but {NOT_UTF8}"
    if isinstance(value, float):
        return "an id: it is a float; ids are strings or whole numbers"
    return "an id: text in UTF-8, or a whole number"


_MAKE = {
    "user": identities,
    "item": identities,
    "rating": many_numbers,
    "text": many_words,
    "title": many_words,
}
