"""Files that others wrote, read whole; what is wrong with one is said with its name.

JSON is read strictly: a key that stands twice, NaN and Infinity are refused, though Python would
take them.
"""

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.errors import UserError, limit

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8; some editors put it at the start of a file


def check_file(path: str | Path, missing: str) -> None:
    """UserError, naming the path, where it is no regular file. missing: what to tell then."""
    with _readable_path(path, missing):
        # A folder, or a pipe, from which a reader would wait for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path}: a folder or a device, where a file is due.")


def read_file(path: str | Path, missing: str) -> bytes:
    """All of a file; UserError, naming the path, where it cannot be read.

    missing: what to tell where there is no such file.
    """
    check_file(path, missing)
    with _readable_path(path, missing):
        return Path(path).read_bytes()


@contextmanager
def _readable_path(path: str | Path, missing: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. {missing}") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}).") from error


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
                f"{path}: key {limit(twice)} stands twice in one map. Which of the two is meant? "
                "Take one out."
            )
        return found

    def constant(name: str) -> None:
        raise UserError(f"{path}: {name} is no number of JSON. Put a number in its place.")

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


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn what a library raises over a file into a UserError that names the file.

    transformers, tokenizers and safetensors raise whatever they meet first in a damaged file:
    KeyError, TypeError, plain Exception. So all are caught, and the kind is told.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason given"
        raise UserError(
            f"{what}: cannot be read, damaged or cut short as it seems ({type(error).__name__}: "
            f"{limit(reason, 200)})."
        ) from error
