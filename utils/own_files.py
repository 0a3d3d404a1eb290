"""What may be replaced: a file that this program wrote, or one that a flag says may go."""

import os
import stat
from pathlib import Path

from utils.console import say
from utils.errors import UserError
from utils.files import check_writable, readable_path, write_text


def is_own(path: Path, heads: tuple[str, ...]) -> bool:
    """Whether a file may be replaced: it is not there, or empty, or begins as those that this
    program writes. A link, a folder or a pipe is somebody else's.

    heads: how such files begin, in this version and in older ones.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(mode):
        return False
    begins = tuple(head.encode() for head in heads)
    with readable_path(path, ""), path.open("rb") as file:
        content = file.read(max(map(len, begins)))
    return not content or content.startswith(begins)


def replace_own(path: Path, text: str, heads: tuple[str, ...]) -> bool:
    """Write a page where none is, or one of ours; leave a file of somebody else alone, and say so.

    heads: see ``is_own``.

    Returns:
        whether it was written.
    """
    if not is_own(path, heads):
        say(f"{path}: left as it is, for this program did not write it. Move it away to have ours.")
        return False
    write_text(path, text)
    return True


def check_out(path: Path, overwrite: bool, flag: str = "--out") -> None:
    """UserError where a file that a flag names is there already and ``--overwrite`` is not given,
    or cannot be written: asked before the work.
    """
    if os.path.isdir(path):
        raise UserError(f"{flag} {path}: is a folder. Name a file.")
    if os.path.lexists(path) and not overwrite:
        raise UserError(
            f"{flag} {path}: is there already. Name another file, or add --overwrite to replace it."
        )
    check_place(path.parent, flag)


def check_place(folder: Path, flag: str) -> None:
    """UserError where nothing can be written in a folder, or in the one that it is made in."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))
    if not os.path.isdir(nearest):
        raise UserError(f"{flag} {folder}: {nearest} is a file. Name another folder.")
    check_writable(nearest)
