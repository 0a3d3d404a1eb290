"""JSON lines: one object a line, or a Python dict, as old dumps of Amazon's have it."""

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, repeat
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from modules.preparation.columns import BadLines, Columns, Sample
from modules.preparation.lines import TOO_LONG, blocks, first_block, is_utf8, opened
from utils.errors import UserError, limit

LOOK_AHEAD = 1000  # lines whose keys count as the columns: not every record has all
MAX_LOOSE = 1 << 18  # bytes of a line that is tried as a Python dict: the parser takes much memory
MAX_KEYS = 100_000  # columns that are told apart
_BLANKS = b" \t\r"
MAX_SHOWN = 200  # characters of a value that is kept as an example of its column
_CONVERT_MAP = "jq -r 'to_entries[] | [.key] + .value | map(tostring) | join(\" \")'"
_ARRAY = ". It is one JSON array: convert it, as with `jq -c '.[]'`"
_ROWS = (
    ". Its rows are arrays, without the columns' names: make it a table, as with `jq -r @csv`, and "
    "give that with --columns"
)


# Reads a few times as fast as json does, and refuses more: it never takes what json refuses.
_DECODE = msgspec.json.Decoder().decode
_REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Twice(ValueError):
    """A key is given twice in one object."""


def sample(path: Path, given: set[str]) -> Sample:
    """The keys of the first lines, each once, in the order in which they come; their values.

    Args:
        given: keys that count too if they are in any line.

    Raises:
        UserError: naming the first line, where none of them is an object.
    """
    values: dict[str, list[Any]] = {}
    problem, only_lists, objects, wrapped = "", True, 0, None
    with opened(path) as (stream, _):
        first_block(path, stream)
        stream.seek(0)
        for number, line in islice(_numbered(stream), LOOK_AHEAD):
            if number == 1 and line is not None and line.strip() == b"[":
                raise UserError(f"{path}, line 1: {limit('[')}{_ARRAY}.")
            record = _record(line, check_keys=True) if line is not None else TOO_LONG
            if isinstance(record, str):
                problem = problem or f"{path}, line {number}: {record}{_hint(line)}"
                continue
            objects += 1
            wrapped = wrapped or next(filter(_holds_objects, record.items()), (None,))[0]
            only_lists = only_lists and all(isinstance(value, list) for value in record.values())
            for key, value in record.items():
                values.setdefault(key, []).append(value if _is_small(value) else None)
            if len(values) > MAX_KEYS:
                break
    if not values:
        raise UserError(
            f"{problem or f'{path}: is empty'}. The file cannot be read as json: none of its first "
            f"{LOOK_AHEAD:,} lines is an object with a key. It must have one JSON object a line."
        )
    if wrapped is not None and objects == 1:
        inner = f".{wrapped}" if wrapped.isidentifier() else f".[{json.dumps(wrapped)}]"
        raise UserError(
            f"{path}: is one object, with the records in its key {limit(wrapped)}; it must be one "
            f"object a line. Convert it, as with `jq -c '{inner}[]' {path.name} > rows.json`."
        )
    if only_lists:
        raise UserError(
            f"{path}: is an object of users and their items; it must be one interaction a line. "
            f"Convert it with `{_CONVERT_MAP} {path.name} > sequences.txt`, and give that file "
            "with --format sequences."
        )
    return Sample([*values, *_later(path, given - set(values))], values)


def _holds_objects(item: tuple[str, Any]) -> bool:
    """Is the value of a key a list of objects?"""
    return isinstance(item[1], list) and any(isinstance(one, dict) for one in item[1][:1])


def _later(path: Path, names: set[str]) -> list[str]:
    """Those of the names that are somewhere in the file, as texts of JSON."""
    found: set[str] = set()
    if names:
        with opened(path) as (stream, _):
            for block in blocks(stream):
                found |= {name for name in names if json.dumps(name).encode() in (block or b"")}
    return sorted(found)


def _is_small(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and len(value) < MAX_SHOWN)


def chunks(
    path: Path,
    wanted: list[str],
    once: Sequence[str],
    bad: BadLines,
    watched: Callable[[str], bool] | None,
) -> Iterator[Columns]:
    """The wanted keys' values, chunk after chunk.

    Args:
        once: keys that a good line gives once at most: the same in every pass over a file, so that
            a line that is good in one is good in all.
        watched: of a key: must it not come up? It was in none of the first lines. None: all may.
    """
    marks = [json.dumps(name).encode() for name in once]
    start = 1
    with opened(path) as (stream, share):
        for block in blocks(stream):
            lines = _lines(block)
            numbers, records = range(start, start + len(lines)), plain(lines)
            # Python keeps the last of two equal keys. To look at each key takes long.
            twice = block is not None and _may_be_twice(block, lines, records, marks)
            if twice or records is None:
                numbers, records = _line_by_line(lines, start, twice, bad)
            start += len(lines)
            if watched:
                _check_later_keys(path, numbers, records, watched)
            values = [[record.get(name) for record in records] for name in wanted]
            yield Columns(numbers, "line", values, share())


def _may_be_twice(
    block: bytes, lines: list[bytes], records: list[dict[str, Any]] | None, marks: list[bytes]
) -> bool:
    """May a line of the block give a key twice? records: of the lines, where all are plain; marks:
    the keys as they are written."""
    if records is not None:
        keys, is_clear = _keys_of_lines(block, len(lines))
        once = is_clear & (keys == np.fromiter(map(len, records), np.int64, len(records)))
        lines = [lines[k] for k in np.flatnonzero(~once).tolist()]
    return any(max(map(bytes.count, lines, repeat(mark)), default=0) > 1 for mark in marks)


def _keys_of_lines(block: bytes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count,) how many times a quotation mark and a colon stand side by side in each line: that is
    each key, and more in some texts; (count,) bool: no key has blanks before its colon."""
    letters = np.frombuffer(block, dtype=np.uint8)
    colons = np.flatnonzero(letters[1:] == ord(":")) + 1
    line = np.searchsorted(np.flatnonzero(letters == ord("\n")), colons)
    before = letters[colons - 1]
    keys = np.bincount(line[before == ord('"')], minlength=count)
    blank = np.isin(before, list(_BLANKS))
    unclear = np.isin(letters[colons[blank] - 2], [*_BLANKS, ord('"')])
    is_clear = np.ones(count, dtype=bool)
    is_clear[line[blank][unclear]] = False
    return keys, is_clear


def plain(lines: list[bytes] | list[None]) -> list[dict[str, Any]] | None:
    """The objects of lines that all hold one, as nearly all blocks are; None for any others."""
    try:
        records = list(map(_DECODE, lines))
    except (*_REFUSED, TypeError):  # TypeError: [None]
        return None
    return records if set(map(type, records)) == {dict} else None


def _line_by_line(
    lines: list[bytes] | list[None], start: int, twice: bool, bad: BadLines
) -> tuple[list[int], list[dict[str, Any]]]:
    """The numbers and objects of the lines that hold one. start: number of the first line; twice:
    whether to look for keys that are there twice."""
    numbers, records = [], []
    for number, line in enumerate(lines, start):
        if line is not None and (not line or line.isspace()):
            continue
        record = TOO_LONG if line is None else _record(line, twice)
        if isinstance(record, str):
            bad.add(number, "line", record)
        else:
            numbers.append(number)
            records.append(record)
    return numbers, records


def _check_later_keys(
    path: Path,
    numbers: Sequence[int],
    records: list[dict[str, Any]],
    watched: Callable[[str], bool],
) -> None:
    keys = sorted(key for key in set().union(*records) if watched(key))
    if keys:
        number = next(n for n, record in zip(numbers, records) if keys[0] in record)
        raise UserError(
            f"{path}, line {number}: has {keys[0]!r}, which none of the first {LOOK_AHEAD:,} lines "
            f"has. If it is the time, give --time {keys[0]} (lines without it are bad); if not, "
            "--no_time."
        )


def _lines(block: bytes | None) -> list[bytes] | list[None]:
    """The lines of a block, without their ends. [None]: one that is too long."""
    return [None] if block is None else block.removesuffix(b"\n").split(b"\n")


def _numbered(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(number, line) of the lines that are not blank."""
    lines = (line for block in blocks(stream) for line in _lines(block))
    for number, line in enumerate(lines, start=1):
        if line is None or line.strip():
            yield number, line


def _record(line: bytes, check_keys: bool) -> dict[str, Any] | str:
    """A line's object, or what is wrong with it. check_keys: look for keys that are there twice."""
    if not check_keys and (records := plain([line])):
        return records[0]
    try:
        record = json.loads(line, object_pairs_hook=_once if check_keys else None)
    except _Twice as twice:
        return str(twice)
    except UnicodeDecodeError as broken:
        return f"byte {broken.start + 1} is not UTF-8"
    except ValueError as broken:
        record = _loose(line)
        if record is None:
            return f"not a JSON object ({broken}{_cause(line)})"
    except RecursionError:
        return "not a JSON object (nested too deep)"
    if isinstance(record, dict):
        return record
    return f"{limit(record)} is not a JSON object"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Twice(f"the key {limit(twice)} is given twice in one object")
    return found


def _loose(line: bytes) -> dict[str, Any] | None:
    """The dict that an old dump writes; None where it is none. Literals only, so that nothing in
    the file is ever run."""
    text = line.strip()
    if len(text) > MAX_LOOSE or not (text.startswith((b"{'", b'{"', b"{u")) and text[-1:] == b"}"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d" in a text: the file's matter, not Python's
            record = ast.literal_eval(text.decode("utf-8"))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    is_record = isinstance(record, dict) and all(isinstance(key, str) for key in record)
    return record if is_record else None


def _cause(line: bytes) -> str:
    """Why a line that has an object may be none."""
    line = line.strip()
    if b"\r" in line:
        return "; its lines end with CR alone, as it seems: convert it, as with `tr '\\r' '\\n'`"
    if re.search(rb"\}\s*\{", line):
        return "; several objects on one line, as it seems: convert it, as with `jq -c .`"
    if line.endswith(b"},"):
        return "; a comma after the object: take it out, as with `sed 's/,$//'`"
    return ""


def _hint(line: bytes | None) -> str:
    """What a first line that is no object may show about the file."""
    start = (line or b"").lstrip()
    if start.startswith(b"["):
        return _ROWS if _is_plain_list(start) else _ARRAY
    if start[:1] == b"{" and start.count(b"{") > start.count(b"}"):
        return ". An object over several lines, as it seems: convert it, as with `jq -c .`"
    if line is not None and not is_utf8(line):
        return ". Save the file as UTF-8"
    return ""


def _is_plain_list(line: bytes) -> bool:
    """A list of values, none an object?"""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return bool(values) and not any(isinstance(value, (dict, list)) for value in values)
