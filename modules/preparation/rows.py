"""Raw reviews and interactions: which column is what, and which rows are good.

A row is good when it has a user, an item and, where the file has such a column, a time (and a
rating, where one is needed). Text never makes a row bad, so the k-th good row is the same row
whatever is read of it: the passes of prepare.py rely on that.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from modules.preparation.formats import BadLines, column_chunks, column_names, kind_of
from utils.errors import UserError, limit

# Names that people use, the most likely first: Amazon's dumps, RecBole, common tables.
GUESSES = {
    "user": ("reviewerID", "user_id", "user", "userId", "uid", "customer_id", "reviewer_id"),
    "item": ("parent_asin", "asin", "item_id", "item", "itemId", "iid", "product_id", "productId",
             "business_id", "movieId"),
    "time": ("unixReviewTime", "timestamp", "time", "unix_time", "datetime", "date"),
    "rating": ("overall", "rating", "stars", "score"),
    "text": ("reviewText", "text", "review_text", "review", "comment"),
    "title": ("summary", "title", "review_title"),
}  # fmt: skip


class Roles(NamedTuple):
    """The column of each role, by its name in the file; None where the file has none."""

    user: str
    item: str
    time: str | None
    rating: str | None
    text: str | None
    title: str | None


@dataclass(frozen=True)
class RawFile:
    """A file, and how to read it."""

    path: Path
    kind: str  # a value of formats.KINDS
    header: list[str] | None  # names of the columns, for a table without a header line
    roles: Roles


class Rows(NamedTuple):
    """Good rows, as lists of equal length."""

    users: list[str]
    items: list[str]
    times: list[float]  # 0 where the file has none
    ratings: list[float]  # 0 where they are not read; NaN where a row that is good has none
    texts: list[str]  # of the role that was asked for, "" where a row has none; [] without one


def open_raw(
    path: str | Path, kind: str | None, header: list[str] | None, given: dict[str, str | None]
) -> RawFile:
    """Find out how to read a file.

    Args:
        kind: format; None: by the file's ending.
        header: column names of a table that has no header line.
        given: role -> column; None, or no entry: guess it.

    Raises:
        UserError: where the file or a column is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file. Name a file of reviews or interactions.")
    kind = kind or kind_of(path)
    if header and kind in ("json", "parquet"):
        raise UserError(
            f"--columns names the columns of csv, tsv and inter files; {path} is read as {kind}. "
            "Leave it out."
        )
    names = column_names(path, kind, header)
    # RecBole writes the type of a field after its name.
    known = {(n.rpartition(":")[0] or n) if kind == "inter" else n: n for n in names}
    roles = Roles(**{role: _column(path, role, known, given.get(role)) for role in GUESSES})
    for role in ("user", "item"):
        if getattr(roles, role) is None:
            raise UserError(
                f"{path}: which column is the {role}? The file has "
                f"{limit(', '.join(known), 300)}. Name one with --{role}, or, for a table without "
                "a header line, all of them with --columns."
            )
    return RawFile(path, kind, header, roles)


def _column(path: Path, role: str, known: dict[str, str], given: str | None) -> str | None:
    if given is not None:
        if given not in known and given not in known.values():
            raise UserError(
                f"--{role} {given}: {path} has no such column. Name one that it has: "
                f"{limit(', '.join(known), 300)}."
            )
        return known.get(given, given)
    folded = {name.lower(): name for name in reversed(known)}  # of equal names, the first
    guesses = (folded.get(guess.lower()) for guess in GUESSES[role])
    return next((known[name] for name in guesses if name is not None), None)


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
    """
    needed = ["user", "item"]
    if raw.roles.time:
        needed.append("time")
    if rating:
        needed.append("rating")
    roles = [*needed, *([text] if text else ()), *(["rating"] if rated and not rating else ())]
    names = [getattr(raw.roles, role) for role in roles]
    for chunk in column_chunks(raw.path, raw.kind, raw.header, names, bad):
        done(chunk.share)
        made = {role: list(map(_MAKE[role], column)) for role, column in zip(roles, chunk.values)}
        wrong = {k for role in needed for k, value in enumerate(made[role]) if value is None}
        for k in sorted(wrong):
            at = next(n for n, role in enumerate(needed) if made[role][k] is None)
            value = chunk.values[at][k]
            shown = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            problem = f"the {needed[at]}, {names[at]!r}, is {limit(shown)}; it must be "
            bad.add(chunk.numbers[k], chunk.unit, problem + _MUST_BE[needed[at]])
        if wrong:
            made = {
                role: [value for k, value in enumerate(column) if k not in wrong]
                for role, column in made.items()
            }
        none = [0.0] * len(made["user"])
        ratings = [math.nan if value is None else value for value in made.get("rating", none)]
        yield Rows(
            made["user"],
            made["item"],
            made.get("time", none),
            ratings,
            made.get(text, []),
        )


def _identity(value: Any) -> str | None:
    """A user's or item's original id; whole numbers as their digits."""
    try:
        if isinstance(value, bytes):
            value = value.decode("utf-8")
        elif isinstance(value, str):
            value.encode("utf-8")  # JSON can hold half of a surrogate pair
    except UnicodeError:
        return None
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if type(value) is int else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, bytes)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _moment(value: Any) -> float | None:
    """A time to sort by: a number in any unit, or an ISO date as seconds since 1970."""
    number = _number(value)
    if number is not None or not isinstance(value, (str, bytes)):
        return number
    try:
        text = value.decode("utf-8") if isinstance(value, bytes) else value
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _words(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


_ID = "an id: text in UTF-8, or a whole number"
_MUST_BE = {"user": _ID, "item": _ID, "time": "a number or an ISO date", "rating": "a number"}
_MAKE = {
    "user": _identity,
    "item": _identity,
    "time": _moment,
    "rating": _number,
    "text": _words,
    "title": _words,
}
