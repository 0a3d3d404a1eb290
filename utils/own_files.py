"""What may be written to: a folder of ours, a file that this program wrote, or one that a flag says
may go."""

import hashlib
import os
import stat
from pathlib import Path

from utils.console import say
from utils.errors import UserError, limit
from utils.files import check_writable, foreign, read_file, sweep, write_text


def seal(text: str) -> str:
    """A page with a last line that says who wrote it, and shows whether it was changed since. It
    is a comment in HTML and in Markdown."""
    checksum = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"{text}<!-- by ELMRec, which replaces it while it is unchanged: {checksum} -->\n"


def is_own(path: Path, older: tuple[str, ...]) -> bool:
    """Whether a page may be replaced: it is not there, or empty, or one that this program wrote
    and nobody has changed. A link, a folder or a pipe is somebody else's.

    older: how pages begin that versions without seals wrote.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(mode):
        return False
    text = read_file(path, "").decode("utf-8", "replace")
    if not text or text.startswith(older):
        return True
    return text == seal(text[: text.rstrip("\n").rfind("\n") + 1])


def replace_own(path: Path, text: str, older: tuple[str, ...]) -> bool:
    """Write a page where none is, or one of ours; leave one of somebody else, or one that somebody
    has changed, as it is, and say so. older: see ``is_own``.

    Returns:
        whether it was written.
    """
    if not is_own(path, older):
        say(f"{path}: left as it is: it was changed, or is not ours. Move it away to have ours.")
        return False
    write_text(path, seal(text))
    return True


def check_own_folder(folder: Path, record: str, flag: str) -> None:
    """Whether a folder is ours to write to: it holds our record, or is empty, or is not there.

    Args:
        record: name of the file that only our folders hold; its reader checks what is in it.
        flag: by which the user named the folder, for errors.

    Raises:
        UserError: where it is anything else; nothing is written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{flag} {folder}: is a file. Name a folder.")
    if not folder.exists() or (folder / record).exists():
        return
    if held := foreign(folder):
        more = f" and {len(held) - 3} more" if len(held) > 3 else ""
        raise UserError(
            f"{flag} {folder}: holds {', '.join(map(limit, held[:3]))}{more}, but no {record}: it "
            "is not a folder that this program wrote. Name a new or an empty one."
        )


def check_out(path: Path, overwrite: bool, flag: str = "--out") -> None:
    """UserError where a file that a flag names is there already and ``--overwrite`` is not given,
    or cannot be written: asked before the work.
    """
    if os.path.isdir(path):
        raise UserError(f"{flag} {path}: is a folder. Name a file.")
    resolved = path.resolve()  # new/../old is old, once the folder is made
    if (os.path.lexists(path) or os.path.lexists(resolved)) and not overwrite:
        raise UserError(
            f"{flag} {path}: is there already. Name another file, or add --overwrite to replace it."
        )
    check_place(path.parent, flag)


def write_out(path: Path, text: str) -> None:
    """Write a file that a flag names, and remove what a killed process left beside it."""
    sweep(path.parent, only=path.name)
    write_text(path, text)


def check_place(folder: Path, flag: str) -> None:
    """UserError where nothing can be written in a folder, or in the one that it is made in."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))
    if not os.path.isdir(nearest):
        raise UserError(f"{flag} {folder}: {nearest} is a file. Name another folder.")
    check_writable(nearest)
