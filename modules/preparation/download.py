"""Get a published data set: its files, or the raw reviews that they were made of.

    python -m modules.preparation.download beauty --from https://example.org/beauty
    python -m modules.preparation.download beauty --from ~/Downloads/beauty
    python -m modules.preparation.download beauty --raw

Files come from a folder, given as http(s)://, file:// or a plain path; they go to data/<name>/.
For the four files no lasting public address is known, so they need --from. For --raw the default
is Stanford's copy of the Amazon dumps of 2014; prepare.py reads them. An interrupted transfer is
resumed a few times, and then by the next call. Files move to data/<name>/ only if their statistics
are the published ones.
"""

import argparse
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from modules.data.reader import load_dataset
from modules.preparation.formats import BadLines
from modules.preparation.rows import open_raw, read_rows
from modules.preparation.transfer import fetch
from utils import cli
from utils.console import say
from utils.errors import UserError
from utils.files import LOCK_FILE
from utils.flag_types import path_name
from utils.locks import locked


class PublishedSet(NamedTuple):
    """A published set: its sizes, and its 5-core dump of reviews."""

    users: int
    items: int
    interactions: int
    dump: str


SETS = {
    "beauty": PublishedSet(22_363, 12_101, 198_502, "reviews_Beauty_5.json.gz"),
    "sports": PublishedSet(35_598, 18_357, 296_337, "reviews_Sports_and_Outdoors_5.json.gz"),
    "toys": PublishedSet(19_412, 11_924, 167_597, "reviews_Toys_and_Games_5.json.gz"),
}
DUMPS = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
NEEDED = ("sequential.txt", "datamaps.json")
OPTIONAL = ("negative.txt", "explanation.json")
# Bytes that a file may have: several times what the numbers of users, items and interactions of the
# largest published set ask for. A server that sends without end is stopped there.
_MIB = 1 << 20
MOST = {
    "sequential.txt": 16 * _MIB,
    "datamaps.json": 32 * _MIB,
    "negative.txt": 256 * _MIB,
    "explanation.json": 512 * _MIB,
}
MOST_OF_DUMP = 512 * _MIB


def check_published_set(folder: Path, published: PublishedSet) -> None:
    """Check that a data folder is the published set; UserError where it is not."""
    dataset = load_dataset(folder)
    _check((dataset.n_users, dataset.n_items, len(dataset.items)), published)


def check_dump(path: Path, published: PublishedSet) -> None:
    """Check that a dump is the one that the published set was made from; UserError where not."""
    users: set[str] = set()
    items: set[str] = set()
    interactions = 0
    raw = open_raw(path, None, None, {})
    for rows in read_rows(raw, BadLines(path, strict=True), lambda share: None):
        users.update(rows.users)
        items.update(rows.items)
        interactions += len(rows.users)
    _check((len(users), len(items), interactions), published)


def _check(have: tuple[int, int, int], published: PublishedSet) -> None:
    for what, found, expected in zip(("users", "items", "interactions"), have, published):
        if found != expected:
            raise UserError(
                f"the files have {found:,} {what}, the published set {expected:,}. They are "
                "deleted; give another source with --from."
            )
    say(f"{have[0]:,} users, {have[1]:,} items, {have[2]:,} interactions, as published")


def download(name: str, source: str | None, raw: bool, folder: Path) -> list[Path]:
    """Get a published set into ``folder``.

    Args:
        name: a key of SETS.
        source: folder of the files, as for ``fetch``; None: the default of ``raw``.
        raw: get the dump of reviews instead of the data folder's files.

    Returns:
        The files.

    Raises:
        UserError: where the source lacks a file, or it is not the published set.
    """
    published = SETS[name]
    if source is None and not raw:
        raise UserError(
            "no --from: for the four files no lasting public address is known. Get them by the "
            "links in the repositories of P5 and POD and name the folder, or a URL, with --from; "
            f"or get the raw reviews ({DUMPS}) with --raw and run prepare.py on them."
        )
    names = (published.dump,) if raw else (*NEEDED, *OPTIONAL)
    source = source or DUMPS
    _check_free(folder, names)  # before a byte is written
    with locked(folder / LOCK_FILE, f"--out {folder}"):
        _check_free(folder, names)
        return _get(published, names, source, folder)


def _check_free(folder: Path, names: Iterable[str]) -> None:
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise UserError(
            f"{folder}: already holds {', '.join(there)}. Move them away, or give another --out."
        )


def _get(published: PublishedSet, names: tuple[str, ...], source: str, folder: Path) -> list[Path]:
    # Kept while a transfer is unfinished. One per source, so that files of two are never mixed.
    work = folder / f".download-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    if work.is_symlink():
        raise UserError(f"{work}: is a link, which this program does not make. Remove it.")
    found = {name: fetch(source, name, work, MOST.get(name, MOST_OF_DUMP)) for name in names}
    files = [path for path in found.values() if path]
    missing = [name for name, path in found.items() if path is None]
    if set(missing) & {published.dump, *NEEDED}:
        raise UserError(f"{source}: has no {', '.join(missing)}. Give another source with --from.")
    if missing:
        say(f"the source has no {', '.join(missing)}; these files are optional")
    try:
        if published.dump in names:
            check_dump(files[0], published)
        else:
            check_published_set(work, published)
        _check_free(folder, names)  # the transfer may have taken an hour
        return [path.replace(folder / path.name) for path in files]
    finally:
        for path in files:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # holds something that is not of this program
            work.rmdir()


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    parser.add_argument("name", choices=SETS, help="which set")
    parser.add_argument(
        "--from", dest="source", metavar="URL_OR_FOLDER", help="folder of the files"
    )
    parser.add_argument("--raw", action="store_true", help="get the reviews that it was made from")
    parser.add_argument("--out", type=path_name, metavar="FOLDER", help="default: data/<name>")
    return parser.parse_args()


def main() -> None:
    """Fetch, check, move into place."""
    args = parse_args()
    folder = Path(args.out or Path("data") / args.name)
    for path in download(args.name, args.source, args.raw, folder):
        say(f"{path} ({path.stat().st_size:,} bytes)")


if __name__ == "__main__":
    cli.run(main)
