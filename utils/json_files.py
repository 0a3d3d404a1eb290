"""JSON files: written whole, read strictly, and compared with the type that they must have.

Strictly: a key that is given twice, NaN and Infinity are refused, though Python would take them.
"""

import json
import re
import reprlib
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from utils.console import printable, say
from utils.errors import UserError, limit
from utils.files import (
    BYTE_ORDER_MARK,
    MISSING,
    check_file,
    read_file,
    readable_path,
    write_text,
)

T = TypeVar("T")
MAX_FILE = 1 << 26  # bytes of a JSON file of a run; the largest, item numbers, take 9 an item
MAX_LINE = 1 << 24  # bytes of a line of JSON lines; a list of 100,000 items takes 4 MB


def to_json(value: Any) -> str:
    """Indented JSON, as all files of a run have it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json(path: str | Path, value: Any) -> None:
    """``write_bytes`` of indented JSON."""
    write_text(path, to_json(value))


def to_jsonl(rows: list[dict[str, Any]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_jsonl(path: str | Path, rows: list[dict[str, Any]]) -> None:
    """``write_bytes`` of one JSON object a line."""
    write_text(path, to_jsonl(rows))


def is_text(value: Any) -> bool:
    """A string that can be written again: an escape of JSON can be half of a surrogate pair."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def parse_json(path: str | Path, content: bytes, first_line: int = 1) -> Any:
    """The value of a JSON text.

    Args:
        path: of the file, for errors.
        content: UTF-8, with or without a byte order mark.
        first_line: number of the line at which it starts, for errors.

    Raises:
        UserError: naming the path, and the line or what is known of the place.
    """

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise UserError(
                f"{path}: key {limit(twice)} is given twice in one map. Remove one of the two."
            )
        return found

    def constant(name: str) -> None:
        raise UserError(f"{path}: {name} is not a number in JSON. Put a number in its place.")

    try:
        text = content.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
        return json.loads(text, object_pairs_hook=table, parse_constant=constant)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: byte {error.start} is not UTF-8. Save the file as UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {first_line + error.lineno - 1}, column {error.colno}: broken JSON "
            f"({error.msg}). The file may have been cut short."
        ) from error
    except RecursionError as error:
        raise UserError(f"{path}: lists or maps are nested too deep to be read.") from error
    except ValueError as error:  # Python reads whole numbers of up to 4300 digits
        raise UserError(f"{path}: holds a number that is too long ({error}).") from error


def check_type(path: str | Path, value: Any, kind: type[T], line: int | None = None) -> T:
    """A value that was read from JSON, as the type that it must have.

    Args:
        path: of the file, for errors.
        kind: a dataclass, a NamedTuple or any type of ``typing``, with limits in ``Annotated``.
            Entries that a dataclass does not have are left out.
        line: of the file, for errors.

    Raises:
        UserError: naming the file and the entry, where it is of another type or out of limits.
    """
    try:
        return msgspec.convert(value, kind)
    except UnicodeEncodeError as error:  # half of a surrogate pair, where it is compared
        raise UserError(
            f"{path}: holds {limit(error.object)}, which is no text. Put the original back."
        ) from error
    except msgspec.ValidationError as error:
        problem, place = _PLACE.fullmatch(str(error)).group("problem", "place")
        problem = printable(problem.replace("`", ""))[:200]
        at = f", line {line}" if line is not None else ""
        raise UserError(
            f"{path}{at}: {_entry(value, place or '')}{problem[:1].lower()}{problem[1:]}. The "
            "file was changed or is another program's; put the original back."
        ) from error


# What msgspec says, such as: Expected `int`, got `str` - at `$.rows[3].user`
_PLACE = re.compile(r"(?P<problem>.*?)( - at (`key` in )?`\$\.?(?P<place>[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.?(?P<key>\w+)|\[(?P<index>\d+)\]")
_SHORT = reprlib.Repr()  # also of what is nested so deep that repr() gives up
_SHORT.maxstring = _SHORT.maxlong = 60


def _entry(value: Any, place: str) -> str:
    """The entry that is wrong and what it is, for an error."""
    named, inside, _ = place.partition("[...]")
    if inside:  # some entry of a map
        return f"in {named}: " if named else ""
    while place and (step := _STEP.match(place)):
        value = value[int(step["index"])] if step["index"] else value[step["key"]]
        place = place[step.end() :]
    return f"{named} is {_SHORT.repr(value)}: " if named else ""


def read_json(path: str | Path, kind: type[T] = Any, missing: str = MISSING) -> T:
    """Read a JSON file of at most ``MAX_FILE`` bytes; ``kind``: see ``check_type``.

    missing: what to say where there is no such file.

    Raises:
        UserError: naming the file, where it is missing, broken, or holds something else.
    """
    value = parse_json(path, read_file(path, missing, MAX_FILE))
    return value if kind is Any else check_type(path, value, kind)


def read_jsonl(path: str | Path, kind: type[T] = Any, growing: bool = False) -> list[T]:
    """Read what ``write_jsonl`` wrote; UserError, naming file and line, where it is broken.

    growing: the file is written a line at a time. A last line that is broken, as a kill or a full
    disk leaves it, is left out, and this is said.
    """
    rows = []
    check_file(path, MISSING)
    with readable_path(path, MISSING), Path(path).open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):  # of bytes: at line ends and nowhere else
            number += 1
            if len(line) > MAX_LINE:
                raise UserError(f"{path}, line {number}: longer than {MAX_LINE:,} bytes.")
            try:
                row = parse_json(path, line, number)
            except UserError as error:
                if not growing or file.readline(1):
                    raise
                say(f"warning: {error} This last line is left out.")
                break
            rows.append(row if kind is Any else check_type(path, row, kind, number))
    return rows
