"""Titles of items: from a column of the raw file, or from a file about the items.

Such a file is read as raw files are (formats.py), by its ending: Amazon's meta dumps, old ones too,
RecBole's ``.item``, tables, Parquet. Only titles of items that are in the data set are kept.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from modules.preparation import formats
from modules.preparation.columns import BadLines
from modules.preparation.formats import Asked, Format
from modules.preparation.markup import plain_text
from modules.preparation.roles import GUESSES, columns_of, named_column
from modules.preparation.rows import RawFile
from modules.preparation.values import identities, identity, words
from utils.console import progress, say
from utils.errors import UserError, limit
from utils.files import check_file

MAX_TITLE = 200  # characters; sellers write whole descriptions into titles
_BY_ENDING = "FILE is read by its ending; flags of reading such as --format are for RAW alone."


@dataclass(frozen=True)
class TitleFile:
    """A file, and which of its columns hold items and their titles."""

    path: Path
    how: Format
    item: str
    title: str
    is_raw: bool  # the file of interactions itself


class Titles(NamedTuple):
    """What was found."""

    of_item: dict[int, str]  # by the item's id; items without a title are left out
    counts: dict[str, int]  # an entry of stats.json


def open_titles(raw: RawFile, items: str | None, column: str | None) -> TitleFile | None:
    """Find out where the titles of items are; None where no flag says so.

    Args:
        items: --items, a file about the items; None: they are in the raw file.
        column: --item_title, the titles' column; None: guess it, of ``items`` alone.

    Raises:
        UserError: where the file cannot be read, or a column is missing.
    """
    if items is None:
        return None if column is None else _in_raw(raw, column)
    with _about_items():
        path = Path(items)
        check_file(path, "Name a file of items and their titles.")
        kind = formats.kind_of(path)
        if kind == formats.TEXT:
            kind = "tsv"
        how = formats.find_format(path, kind, None, Asked(), set())
        if how.table and how.table.quoted == "yes":  # descriptions may hold lines of any kind
            how = replace(how, table=replace(how.table, quoted="lines"))
        sample = formats.sample(path, how, set() if column is None else {column})
        known = columns_of(path, how.kind, sample)
    item = _item_column(path, known, raw)
    if column is None:
        title = _title_column(path, known, item)
    else:
        title = named_column(path, "--item_title", known, column)
    return _checked(TitleFile(path, how, item, title, is_raw=False))


def _in_raw(raw: RawFile, column: str) -> TitleFile:
    known = columns_of(raw.path, raw.how.kind, formats.sample(raw.path, raw.how, {column}))
    title = named_column(raw.path, "--item_title", known, column)
    return _checked(TitleFile(raw.path, raw.how, raw.roles.item, title, is_raw=True))


@contextmanager
def _about_items() -> Iterator[None]:
    """Turns advice on how to read a file into what is true of --items: it has no such flags."""
    try:
        yield
    except UserError as error:
        raise UserError(f"--items {error} {_BY_ENDING}") from error


def _checked(file: TitleFile) -> TitleFile:
    """The file; a row of a table is bad where its title is not UTF-8."""
    if file.item == file.title:
        raise UserError(
            f"{file.path}: column {file.title!r} cannot be both the item and its title. Name "
            "another with --item_title."
        )
    if file.how.table is None:
        return file
    return replace(file, how=replace(file.how, table=replace(file.how.table, utf8=file.title)))


def _item_column(path: Path, known: dict[str, str], raw: RawFile) -> str:
    """Named as in the raw file, or as people name it."""
    own = raw.roles.item
    if raw.how.kind == "inter":
        own = own.rpartition(":")[0] or own
    found = _guess(known, (own, *GUESSES["item"], "id"))
    if found is None:
        raise UserError(
            f"--items {path}: which column is the item? The file has "
            f"{limit(', '.join(known), 300)}. Name it {own}, as in {raw.path}, or item_id, item, "
            "asin, id or movieId."
        )
    return found


def _title_column(path: Path, known: dict[str, str], item: str) -> str:
    found = _guess(known, ("title",))
    holding = [name for name, column in known.items() if "title" in name.lower() and column != item]
    if found is None and len(holding) > 1:
        raise UserError(
            f"--items {path}: several columns may be the title: {limit(', '.join(holding), 300)}. "
            "Name one with --item_title."
        )
    found = found or _guess(known, (*holding, "name"))
    if found is None:
        raise UserError(
            f"--items {path}: which column is the title? The file has "
            f"{limit(', '.join(known), 300)}. Name one with --item_title."
        )
    return found


def _guess(known: dict[str, str], names: Sequence[str]) -> str | None:
    """The column of the first of the names that is there; an exact name goes before one in other
    letters' case."""
    exact = next((known[name] for name in names if name in known), None)
    lower = {name.lower(): column for name, column in known.items()}
    return exact or next((lower[n.lower()] for n in names if n.lower() in lower), None)


# ----------------------------------------------------------------------------------- titles


def read_titles(file: TitleFile, item_names: Sequence[str], strict: bool) -> Titles:
    """The titles of items, as plain text of one line. Of several titles of one item the last that
    is not blank counts.

    Args:
        item_names: original ids; [0] is no item.
        strict: a line that cannot be used is an error.

    Raises:
        UserError: where no item has a title, saying what the file holds.
    """
    item_of = {name: item for item, name in enumerate(item_names) if item}
    bad = BadLines(file.path, strict)
    titles: dict[int, str] = {}
    rows, others, example = 0, 0, ""
    for name, value in _pairs(file, bad):
        rows += 1
        item = item_of.get(name)
        if item is None:
            others += 1
            example = example or name
        elif title := clean_title(value):
            titles[item] = title
    said = [*bad.first, *bad.remarks]
    for message in [*said, _BY_ENDING] if said and not file.is_raw else said:
        say(f"item titles: {message}")
    n_items = len(item_of)
    found = f"{rows + bad.count:,} rows = {bad.count:,} bad + {others:,} of other items + "
    found += f"{rows - others:,} of these"
    if not titles:
        ids = f"; an id there is {limit(example)}, here {limit(item_names[1])}" if example else ""
        raise UserError(
            f"{file.path}: no title of any of the {n_items:,} items of the data set. Read with "
            f"item = {file.item}, title = {file.title}: {found}{ids}. Name a file of these items, "
            "or with --item_title the column of titles."
        )
    without = n_items - len(titles)
    say(f"item titles: {n_items:,} items = {len(titles):,} with a title + {without:,} without")
    say(f"item titles: {file.path}: {found}")
    counts = {"items": n_items, "with a title": len(titles), "without": without}
    return Titles(titles, counts)


def _pairs(file: TitleFile, bad: BadLines) -> Iterator[tuple[str, Any]]:
    """(original id, title as it stands) of each row that has an id."""
    wanted = [file.item, file.title]
    with progress(100, "item titles", "%") as bar:
        for chunk in formats.column_chunks(file.path, file.how, wanted, bad, _is_no_row, None):
            bar.update(int(100 * chunk.share) - bar.n)
            for number, name, raw, title in zip(
                chunk.numbers, identities(chunk.values[0]), *chunk.values
            ):
                if name is None:
                    shown = f"the item, {file.item!r}, is {limit(raw)}; it must be an id"
                    bad.add(number, chunk.unit, shown)
                else:
                    yield name, title


def _is_no_row(fields: list[str]) -> bool:
    """See tables.chunks. The first pass has looked for rows inside fields of the raw file; in a
    file about items, descriptions of several lines are common."""
    return False


def clean_title(value: Any) -> str:
    """A title as plain text in one line, cut; "" where there is none. Whole numbers are their
    digits: "1984" is a title."""
    text = words(value) or identity(value) or ""
    return " ".join(plain_text(text).split())[:MAX_TITLE].rstrip()
