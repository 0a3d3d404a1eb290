"""Files of histories, a line a user: ``user item item ...``, the oldest item first.

The files of P5, OpenP5, S3-Rec and IDGenRec are so. There is no time: the order of the line is the
order of the history. ``user item`` a line, as SASRec has it, is a table of two columns (tables.py).
"""

import shlex
from collections.abc import Iterator
from pathlib import Path

from modules.preparation.columns import BadLines, Columns
from modules.preparation.lines import TOO_LONG, blocks, first_block, opened
from modules.preparation.records import BLANK, split
from modules.preparation.table_format import CANDIDATES
from utils.errors import UserError, limit

NAMES = ("user", "item")
_COLON = "the user is {}, with a colon; the line must be `user item item ...`"


def chunks(path: Path, sep: str, wanted: list[str], bad: BadLines) -> Iterator[Columns]:
    """Users and items, a row an interaction. sep: between the fields, as in tables.py."""
    number = 0
    with opened(path) as (stream, share):
        for block in blocks(stream):
            numbers: list[int] = []
            columns: dict[str, list[str]] = {name: [] for name in NAMES}
            for line in [None] if block is None else block.splitlines():
                number += 1
                if line is None:
                    bad.add(number, "line", TOO_LONG)
                    continue
                fields = split(line.decode("utf-8", "surrogateescape"), sep)
                if len(fields) == 1:
                    bad.add(number, "line", "1 field, must be a user and one item or more")
                elif fields and ": " in f"{fields[0]} ":
                    bad.add(number, "line", f"{_COLON.format(limit(fields[0]))}. Take colons out")
                elif fields:
                    user, *items = fields
                    numbers += [number] * len(items)
                    columns["user"] += [user] * len(items)
                    columns["item"] += items
            yield Columns(numbers, "line", [columns[name] for name in wanted], share())


def kind_of_text(path: Path, user_and_item: set[str]) -> str:
    """The format of a ``.txt`` by its first lines: "sequences", "pairs" or "csv".

    Args:
        user_and_item: names, in small letters, that a header would have.

    Raises:
        UserError: where it may be more than one of them.
    """
    with opened(path) as (stream, _):
        block = first_block(path, stream).decode("utf-8", "replace")
    lines = [line for line in block.splitlines()[:1000] if line.strip()]
    rows = [line.split() for line in lines]
    sep = next((sep for sep in CANDIDATES if lines and sep != BLANK and sep in lines[0]), BLANK)
    cells = set(split(lines[0], sep)) if lines else set()
    if not rows or user_and_item & {name.strip(' "').lower() for name in cells}:
        return "csv"
    if sep != BLANK:
        if rows[0][0].endswith(":"):
            raise UserError(
                f"{path}, line 1: {_COLON.format(limit(rows[0][0]))}. Take it, and {sep!r}, out, "
                f"as with `tr {shlex.quote(':' + sep)} ' '`, and give --format sequences."
            )
        if len({line.count(sep) for line in lines}) > 2:
            raise UserError(
                f"{path}: has lines of different lengths, separated by {sep!r}. If it is a file of "
                f"histories, user item item ..., give --format sequences{_sep_flag(sep)}; if it is "
                "a table, --format csv."
            )
        return "csv"
    widths, users = {len(row) for row in rows}, {row[0] for row in rows}
    if widths == {2}:
        return "pairs"
    if len(widths) > 1 and len(users) == len(rows):
        return "sequences"
    raise UserError(
        f"{path}: its format is not sure. Give --format sequences (user item item ..., a line a "
        "user), --format pairs (user item, a line an interaction), or --format csv with --columns."
    )


def _sep_flag(sep: str) -> str:
    """What names a separator of histories; blanks and tabs need none."""
    return "" if sep == "\t" else f" --sep {shlex.quote(sep)}"
