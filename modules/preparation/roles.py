"""Which column of a raw file is what: the user, the item, the time.

Columns are guessed by names that people use. A guess that may be wrong is an error that names the
flag to say it with: two columns of one name, or a column of times that nobody named.
"""

import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from modules.preparation.columns import Sample
from modules.preparation.time_columns import check_no_times
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
USER_AND_ITEM = {name.lower() for role in ("user", "item") for name in GUESSES[role]}
_TIMES = {name.lower() for name in GUESSES["time"]}


class Roles(NamedTuple):
    """The column of each role, by its name in the file; None where the file has none."""

    user: str
    item: str
    time: str | None
    rating: str | None
    text: str | None
    title: str | None


def is_time_name(name: str) -> bool:
    """Would a column of this name be taken for the time?"""
    return name.lower() in _TIMES


def find_roles(
    path: Path, kind: str, sample: Sample, given: dict[str, str | None], no_time: bool
) -> Roles:
    """The column of each role.

    Args:
        kind: the file's format.
        given: role -> column; None, or no entry: guess it.
        no_time: there is no column of times, whatever the names say.

    Raises:
        UserError: where a column is missing, there twice, or holds times and is not named.
    """
    known = columns_of(path, kind, sample)
    if no_time and given.get("time") is not None:
        raise UserError(
            f"--time {shlex.quote(given['time'])} and --no_time: leave one of them out."
        )
    found = {role: _column(path, role, known, given.get(role)) for role in GUESSES}
    for role in ("user", "item"):
        if found[role] is None:
            shown = limit(", ".join(known), 300)
            also = ", for a table without a header line all of them with --columns, or see --sep"
            raise UserError(
                f"{path}: which column is the {role}? The file has {shown}. Name one with "
                f"--{role}{'' if kind in ('json', 'parquet') else also}."
            )
    if found["user"] == found["item"]:
        raise UserError(f"{path}: column {found['user']!r} cannot be both user and item.")
    if no_time:
        found["time"] = None
    elif found["time"] is None:
        check_no_times(path, sample, set(found.values()))
    return Roles(**found)


def columns_of(path: Path, kind: str, sample: Sample) -> dict[str, str]:
    """The columns of a file, by the names that people call them; UserError where one is there
    twice. kind: the file's format."""
    # RecBole writes the type of a field after its name.
    short = [(n.rpartition(":")[0] or n) if kind == "inter" else n for n in sample.names]
    twice = [name for name, count in Counter(short).items() if count > 1 and name]
    if twice:
        raise UserError(
            f"{path}: the column {limit(twice[0])} is there {short.count(twice[0])} times. Rename "
            "or remove all but one."
        )
    return dict(zip(short, sample.names))


def named_column(path: Path, flag: str, known: dict[str, str], given: str) -> str:
    """The column that a flag names. known: see ``columns_of``."""
    if given not in known and given not in known.values():
        raise UserError(
            f"{flag} {shlex.quote(given)}: {path} has no such column. Name one that it has: "
            f"{limit(', '.join(known), 300)}."
        )
    return known.get(given, given)


def _column(path: Path, role: str, known: dict[str, str], given: str | None) -> str | None:
    if given is not None:
        return named_column(path, f"--{role}", known, given)
    exact = next((guess for guess in GUESSES[role] if guess in known), None)
    if exact is not None:
        return known[exact]
    for guess in GUESSES[role]:
        same = [name for name in known if name.lower() == guess.lower()]
        if len(same) > 1:
            raise UserError(
                f"{path}: {' and '.join(map(repr, same))} may both be the {role}. Name one with "
                f"--{role}."
            )
        if same:
            return known[same[0]]
    return None
