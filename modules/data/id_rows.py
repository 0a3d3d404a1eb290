"""Lines ``user item item ...``, of sequential.txt and negative.txt: every id checked."""

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.errors import UserError, limit
from utils.files import BYTE_ORDER_MARK

_NUMBERS = re.compile(rb"[0-9]{1,18}(?:[ \t]+[0-9]{1,18})*")
_BLOCK = 1 << 20  # bytes
# What is in no plain block: what stands between numbers is one blank, or one line end. A number of
# more than 18 digits, if it is an id, begins with zeros.
_UNUSUAL = (b"  ", b" \n", b"\n ", b"\n\n", b"0" * 9)


class IdRows(NamedTuple):
    """The lines of a file, in its order."""

    users: np.ndarray  # (n,) int64
    items: np.ndarray  # of all lines, one after the other: int32
    ends: np.ndarray  # (n,) int64: where each line's items end


def read_rows(path: Path, content: bytes, n_users: int, n_items: int) -> IdRows:
    """The lines of a file. Line ends of any system are read, and blanks and blank lines at the end.
    A blank line between others may be a user that was lost.

    Raises:
        UserError: naming the line, where an id is none, or a user has no line or two.
    """
    content = content.removeprefix(BYTE_ORDER_MARK).rstrip()
    return _plain(content, n_users, n_items) or _line_by_line(path, content, n_users, n_items)


def _plain(content: bytes, n_users: int, n_items: int) -> IdRows | None:
    """The lines of a file that is as prepare.py writes it, read at once; None where anything is
    unusual or wrong."""
    parts = []
    for block in _blocks(content):
        unusual = block.translate(None, b"0123456789 \n") or block.startswith(b" ")
        if unusual or any(mark in block for mark in _UNUSUAL):
            return None
        counts = [line.count(b" ") for line in block.split(b"\n")]  # of items
        numbers = np.fromstring(block, dtype=np.int64, sep=" ")
        first = np.cumsum([0, *counts[:-1]]) + np.arange(len(counts))
        if len(numbers) != sum(counts) + len(counts):
            return None
        parts.append((numbers[first], np.delete(numbers, first).astype(np.int32), counts))
        if numbers.max() > max(n_users, n_items):  # of which int32 may hold no more
            return None
    if not parts:
        return None
    users, items, counts = map(np.concatenate, zip(*parts))
    is_each = len(users) == n_users and (np.bincount(users, minlength=n_users + 1)[1:] == 1).all()
    if not is_each or not len(items) or items.min() < 1 or items.max() > n_items:
        return None
    return IdRows(users, items, np.cumsum(counts))


def _blocks(content: bytes) -> Iterator[bytes]:
    """Of whole lines, without the last one's end."""
    at = 0
    while at < len(content):
        end = content.find(b"\n", at + _BLOCK)
        end = len(content) if end < 0 else end
        yield content[at:end]
        at = end + 1


def _line_by_line(path: Path, content: bytes, n_users: int, n_items: int) -> IdRows:
    """What is right, and what is wrong with a file."""
    users: list[int] = []
    flat = array("q")
    ends: list[int] = []
    line_of: dict[int, int] = {}
    lines = content.splitlines()
    for number, line in enumerate(map(bytes.strip, lines), start=1):
        where = f"{path}, line {number}"
        if not line:
            raise UserError(f"{where}: the line is blank. Each line is: user item item ...")
        if not _NUMBERS.fullmatch(line):
            words = re.split(rb"[ \t]+", line)
            word = next(w for w in words if not re.fullmatch(rb"[0-9]{1,18}", w))
            raise UserError(
                f"{where}: {limit(word.decode('utf-8', 'replace'))} is not an id. Ids are "
                "whole numbers from 1 up, written in at most 18 digits, with blanks between."
            )
        user, *row = map(int, line.split())
        if not 1 <= user <= n_users:
            raise UserError(
                f"{where}: user {user} is not in datamaps.json, which has users 1 to {n_users}."
            )
        if user in line_of:
            raise UserError(
                f"{where}: user {user} is already on line {line_of[user]}. A user has one line."
            )
        if row and (min(row) < 1 or max(row) > n_items):
            bad = next(i for i in row if not 1 <= i <= n_items)
            raise UserError(
                f"{where}: item {bad} is not in datamaps.json, which has items 1 to {n_items}."
            )
        line_of[user] = number
        users.append(user)
        flat.extend(row)
        ends.append(len(flat))
    if not users:
        raise UserError(f"{path}: the file is empty. Each line is: user item item ...")
    if len(users) < n_users:
        missing = next(u for u in range(1, n_users + 1) if u not in line_of)
        raise UserError(
            f"{path}: user {missing} of datamaps.json has no line; {len(users)} of {n_users} have."
        )
    items = np.frombuffer(flat, dtype=np.int64).astype(np.int32)
    return IdRows(np.array(users), items, np.array(ends))
