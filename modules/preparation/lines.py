"""The bytes of a raw file, unpacked, in blocks of whole lines; memory is bounded whatever is in it.

This file does not know what the lines mean.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError
from utils.files import BYTE_ORDER_MARK

try:  # unpacks three times as fast
    from isal.igzip import IGzipFile as GzipFile
    from isal.isal_zlib import error as gzip_error
except ImportError:
    from gzip import GzipFile
    from zlib import error as gzip_error

BLOCK = 1 << 20  # bytes that are read at a time
MAX_LINE = 1 << 22  # bytes of a line; a row is far shorter, and its objects take 25 times as much
TOO_LONG = f"longer than {MAX_LINE >> 20} MiB; a row must be shorter"
LINE_ENDS = (b"\n", b"\r")  # of tables
NOT_UTF8 = "has bytes that are not UTF-8. Save the file as UTF-8"
UNREADABLE = (OSError, EOFError, gzip_error)

_GZIP = b"\x1f\x8b"
# What a file begins with that is no text -> what it is, and what to do with it.
_NOT_TEXT = {
    b"PAR1": "a Parquet file. Give --format parquet",
    b"PK\x03\x04": "a zip archive, or a workbook. Unpack it, or save it as CSV",
    b"BZh": "packed by bzip2. Unpack it with `bunzip2`",
    b"\xfd7zXZ": "packed by xz. Unpack it with `unxz`",
    b"\x28\xb5\x2f\xfd": "packed by zstd. Unpack it with `unzstd`",
}


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, Callable[[], float]]]:
    """A text file's bytes, unpacked where it is gzip, without a byte order mark; and a function
    that says what share of the file is read.

    Raises:
        UserError: where it is no UTF-8 text by its first bytes.
    """
    size = max(path.stat().st_size, 1)
    with path.open("rb") as packed:
        is_gzip = packed.read(len(_GZIP)) == _GZIP  # whatever the file's name says
        packed.seek(0)
        stream = GzipFile(fileobj=packed) if is_gzip else packed
        head = stream.read(1000)
        _check_text(path, head)
        stream.seek(len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0)
        yield stream, lambda: packed.tell() / size


def _check_text(path: Path, head: bytes) -> None:
    for start, what in _NOT_TEXT.items():
        if head.startswith(start):
            raise UserError(f"{path}: is {what}.")
    zeros = max(head[::2].count(0), head[1::2].count(0))  # every other byte of Latin in UTF-16
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or 4 * zeros > len(head):
        raise UserError(f"{path}: is UTF-16, or no text; it must be UTF-8. Save it as UTF-8.")


def blocks(stream: BinaryIO, ends: tuple[bytes, ...] = (b"\n",)) -> Iterator[bytes | None]:
    """Whole lines, many at a time; None in the place of a line that is too long.

    Args:
        ends: what ends a line; b"\\r" counts only where a block has no b"\\n".
    """
    rest = b""
    while piece := stream.read(BLOCK):
        rest += piece
        cut = rest.rfind(b"\n")
        if cut < 0 and b"\r" in ends:
            cut = rest.rfind(b"\r", 0, len(rest) - 1)  # the last may be half of a b"\r\n"
        if cut >= 0:
            yield rest[: cut + 1]
            rest = rest[cut + 1 :]
        elif len(rest) > MAX_LINE:
            yield None
            rest = _after_line(stream)
    if rest:
        yield rest


def _after_line(stream: BinaryIO) -> bytes:
    """Skip to the end of the line; returns what was read beyond it."""
    while piece := stream.read(BLOCK):
        at = piece.find(b"\n")
        if at >= 0:
            return piece[at + 1 :]
    return b""


def first_block(path: Path, stream: BinaryIO, ends: tuple[bytes, ...] = (b"\n",)) -> bytes:
    """The first lines. UserError where the very first is too long: so are all, most likely."""
    block = next(blocks(stream, ends), b"")
    if block is None:
        raise UserError(
            f"{path}, line 1: {TOO_LONG}. The file must have one row, or one JSON object, a line; "
            "`jq -c '.[]'` makes an array so."
        )
    return block


def is_utf8(line: bytes) -> bool:
    """Are the bytes text in UTF-8?"""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
