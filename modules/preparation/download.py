"""Get a published data set: its files, or the raw reviews or ratings that they are made of.

    python -m modules.preparation.download beauty
    python -m modules.preparation.download beauty --from ~/Downloads/beauty
    python -m modules.preparation.download beauty --raw
    python -m modules.preparation.download movielens-100k

beauty, sports and toys come from the repository of ELMRec's authors and go to data/<name>/; with
--raw it is Stanford's copy of the Amazon dumps of 2014. movielens-100k and movielens-1m come from
GroupLens and go to data/raw/<name>/. prepare.py reads the raw ones. --from names another folder to
get the files from: http(s)://, file:// or a plain path. An interrupted transfer is resumed a few
times, and then by the next call. Files take their place only if their statistics are the published
ones.
"""

import argparse
import hashlib
import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from modules.data.reader import load_dataset
from modules.preparation import movielens
from modules.preparation.formats import BadLines
from modules.preparation.rows import open_raw, read_rows
from modules.preparation.sources import Unreachable
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
# GitHub's files as a repository holds them, and those that it holds as pointers of Git LFS.
GITHUB = "https://raw.githubusercontent.com"
GITHUB_LFS = "https://media.githubusercontent.com/media"
# At one commit, so that nobody gets other files later.
AUTHORS = f"{GITHUB}/WangXFng/ELMRec/b28c4f7/data"
DUMPS = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
OPTIONAL = ("negative.txt", "explanation.json")  # files that a source may lack
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
_POINTER = b"version https://git-lfs"  # how a pointer of Git LFS begins; it has about 130 bytes


class Plan(NamedTuple):
    """What is fetched, and what becomes of it."""

    source: str  # where no other is given
    most: dict[str, int]  # each file that is fetched, and the bytes that it may have
    written: tuple[str, ...]  # the files at the end
    finish: Callable[[Path], None]  # checks a folder of what was fetched, and makes the rest
    otherwise: str = ""  # what else to do where the source cannot be reached


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


def _check(have: tuple[int, ...], published: PublishedSet | movielens.MovieLens) -> None:
    """UserError where sizes, in the order of the fields of ``published``, are others than there."""
    whats = published._fields[: len(have)]
    for what, found, expected in zip(whats, have, published):
        if found != expected:
            raise UserError(
                f"the files have {found:,} {what}, the published set {expected:,}. They are "
                "deleted; give another source with --from."
            )
    sizes = ", ".join(f"{found:,} {what}" for what, found in zip(whats, have))
    say(f"{sizes}, as published")


def _plan(name: str, raw: bool) -> Plan:
    if name in movielens.SETS:
        if raw:
            raise UserError(f"--raw: {name} is raw ratings in any case. Leave the flag out.")
        films = movielens.SETS[name]
        most = {films.archive: movielens.MOST_OF_ARCHIVE}
        written = (movielens.RATINGS, movielens.MOVIES)
        return Plan(movielens.ADDRESS, most, written, lambda work: _convert(work, films))
    published = SETS[name]
    if raw:
        dump = published.dump
        return Plan(
            DUMPS, {dump: MOST_OF_DUMP}, (dump,), lambda work: check_dump(work / dump, published)
        )
    return Plan(
        f"{AUTHORS}/{name}",
        MOST,
        tuple(MOST),
        lambda work: check_published_set(work, published),
        " --raw gets the reviews that the files were made of, from another server.",
    )


def _convert(work: Path, films: movielens.MovieLens) -> None:
    _check(movielens.convert(work / films.archive, films), films)


def download(name: str, source: str | None, raw: bool, folder: Path) -> list[Path]:
    """Get a published set into ``folder``.

    Args:
        name: a key of SETS or of movielens.SETS.
        source: folder of the files, as for ``fetch``; None: the set's own.
        raw: get the dump of reviews instead of the data folder's files.

    Returns:
        The files.

    Raises:
        UserError: where the source cannot be reached or lacks a file, or it is not the published
            set.
    """
    plan = _plan(name, raw)
    source = source or plan.source
    _check_free(folder, plan.written)  # before a byte is written
    with locked(folder / LOCK_FILE, f"--out {folder}"):
        _check_free(folder, plan.written)
        return _get(plan, source, folder)


def _check_free(folder: Path, names: Iterable[str]) -> None:
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise UserError(
            f"{folder}: already holds {', '.join(there)}. Move them away, or give another --out."
        )


def _get(plan: Plan, source: str, folder: Path) -> list[Path]:
    # Kept while a transfer is unfinished. One per source, so that files of two are never mixed.
    work = folder / f".download-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    if work.is_symlink():
        raise UserError(f"{work}: is a link, which this program does not make. Remove it.")
    files, missing = _fetch_all(plan, source, work)
    if needed := [name for name in missing if name not in OPTIONAL]:
        raise UserError(f"{source}: has no {', '.join(needed)}. Give another source with --from.")
    if missing:
        say(f"the source has no {', '.join(missing)}; these files are optional")
    try:
        for path in files:
            _check_no_pointer(path, source)
        plan.finish(work)
        _check_free(folder, plan.written)  # the transfer may have taken an hour
        kept = [name for name in plan.written if name not in missing]
        return [(work / name).replace(folder / name) for name in kept]
    finally:
        for path in {*files, *(work / name for name in plan.written)}:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # holds something that is not of this program
            work.rmdir()


def _fetch_all(plan: Plan, source: str, work: Path) -> tuple[list[Path], list[str]]:
    """The files of a plan, and the names of those that the source has not."""
    try:
        found = {name: fetch(source, name, work, most) for name, most in plan.most.items()}
    except Unreachable as error:
        raise UserError(
            f"{source}: cannot be reached ({error}). Check the network and run the command again; "
            "or get the files by other means, and name their folder, or another address, with "
            f"--from.{plan.otherwise}"
        ) from error
    return [path for path in found.values() if path], [n for n, path in found.items() if not path]


def _check_no_pointer(path: Path, source: str) -> None:
    """UserError where a file says only where Git LFS has the file."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) != _POINTER:
            return
    advice = "Run `git lfs pull` where it was cloned."
    if source.startswith(GITHUB):
        advice = f"Run the command again with --from {GITHUB_LFS}{source.removeprefix(GITHUB)}."
    raise UserError(
        f"{source}/{path.name}: is a pointer of Git LFS, and must be the file itself. {advice}"
    )


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    parser.add_argument("name", choices=(*SETS, *movielens.SETS), help="which set")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="URL_OR_FOLDER",
        help="folder of the files; default: see above",
    )
    parser.add_argument("--raw", action="store_true", help="get the reviews that it was made from")
    parser.add_argument(
        "--out",
        type=path_name,
        metavar="FOLDER",
        help="default: data/<name>; of movielens-...: data/raw/<name>",
    )
    return parser.parse_args()


def main() -> None:
    """Fetch, check, move into place."""
    args = parse_args()
    ratings = args.name in movielens.SETS
    folder = Path(args.out or Path("data/raw" if ratings else "data") / args.name)
    for path in download(args.name, args.source, args.raw, folder):
        say(f"{path} ({path.stat().st_size:,} bytes)")
    if ratings:
        files = [folder / movielens.RATINGS, "--items", folder / movielens.MOVIES]
        command = ["python", "prepare.py", *files, "--out", Path("data") / args.name]
        say("not to be passed on, and to be cited: https://grouplens.org/datasets/movielens/")
        say(f"next: {shlex.join(map(str, command))}")


if __name__ == "__main__":
    cli.run(main)
