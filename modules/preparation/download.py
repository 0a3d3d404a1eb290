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
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, url2pathname, urlopen

from modules.data.reader import load_dataset
from modules.preparation.formats import BadLines
from modules.preparation.rows import open_raw, read_rows
from utils import cli
from utils.console import progress, say
from utils.errors import UserError
from utils.files import write_text
from utils.flag_types import path_name


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
BLOCK = 1 << 18
TRIES = 4  # of an interrupted transfer, before it is left to the next call
PAUSE = 1.0  # seconds before the second try; doubled before each later one
TIMEOUT = 30  # seconds without a byte


class Reply(NamedTuple):
    """A source's answer to a request for a file from a byte on."""

    body: BinaryIO
    start: int  # position of the first byte of the body
    size: int | None  # bytes of the whole file; None where the source does not say
    tag: str  # of this version of the file; "" where the source has none


def fetch(source: str, name: str, folder: Path) -> Path | None:
    """Get one file into a folder, resuming what an earlier call left as ``<name>.part``.

    Args:
        source: of the file's folder: http(s)://, file://, or a path.

    Returns:
        The file; None where the source has no file of this name.

    Raises:
        UserError: where the source cannot be read, or the transfer is interrupted every time.
    """
    target, part = folder / name, folder / f"{name}.part"
    if target.exists():  # complete, from an earlier call
        return target
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            if not _transfer(source, name, part):
                return None
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError) and error.code == 416:  # no such byte: start again
                part.unlink()
            elif isinstance(error, HTTPError) and error.code < 500:
                raise UserError(
                    f"{source}/{name}: the server answers {error.code} {error.reason}. Check the "
                    "address in a browser."
                ) from error
            problem = error
            have = part.stat().st_size if part.exists() else 0
            say(f"{name}: interrupted after {have:,} bytes ({error or type(error).__name__})")
            continue
        part.replace(target)
        _tag_file(part).unlink(missing_ok=True)
        return target
    raise UserError(
        f"{source}/{name}: interrupted {TRIES} times ({problem}). Run the command again to "
        f"continue from {part}."
    )


def _tag_file(part: Path) -> Path:
    """The file that holds the tag of the version that ``part`` is from."""
    return part.with_name(part.name + ".tag")


def _transfer(source: str, name: str, part: Path) -> bool:
    """Append to ``part`` what is missing; False where there is no such file. Raises OSError or
    HTTPException where the transfer is interrupted."""
    tag = _tag_file(part)
    known = tag.read_text() if part.exists() and tag.exists() else ""
    have = part.stat().st_size if known else 0  # without a tag it cannot be resumed
    with _open(source, name, have, known) as reply:
        if reply is None:
            return False
        if reply.start == 0:
            part.unlink(missing_ok=True)
            write_text(tag, reply.tag)  # makes the folder too
        with part.open("ab") as file, progress(reply.size or 0, name, "B") as bar:
            bar.update(reply.start)
            while block := reply.body.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    if reply.size is not None and part.stat().st_size != reply.size:
        raise ConnectionError(f"{part.stat().st_size:,} of {reply.size:,} bytes received")
    return True


@contextmanager
def _open(source: str, name: str, start: int, known: str) -> Iterator[Reply | None]:
    """Ask for a file from a byte on; None: there is no such file. known: tag of the part's
    version."""
    scheme = urlsplit(source).scheme if "://" in source else "file"
    if scheme not in ("http", "https", "file"):
        raise UserError(f"--from {source}: {scheme}:// cannot be read. Use http, https or file.")
    reply = (_open_path if scheme == "file" else _open_url)(source, name, start, known)
    try:
        yield reply
    finally:
        if reply is not None:
            reply.body.close()


def _open_path(source: str, name: str, start: int, known: str) -> Reply | None:
    folder = Path(url2pathname(urlsplit(source).path) if "://" in source else source).expanduser()
    if not folder.is_dir():
        raise UserError(f"--from {source}: no such folder. Name the folder with the files.")
    path = folder / name
    if not path.is_file():
        return None
    stat = path.stat()
    tag = f"{stat.st_mtime_ns}-{stat.st_size}"
    body = path.open("rb")
    return Reply(body, body.seek(start if known == tag else 0), stat.st_size, tag)


def _open_url(source: str, name: str, start: int, known: str) -> Reply | None:
    request = Request(f"{source.rstrip('/')}/{quote(name)}")
    if start:  # from this byte on, if the file is unchanged; else all of it
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", known)
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 404:
            return None
        raise
    length = response.headers.get("Content-Length")
    begins = start if response.status == 206 else 0
    size = begins + int(length) if length and length.isdigit() else None
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):  # a weak one allows other bytes
        tag = response.headers.get("Last-Modified", "")
    return Reply(response, begins, size, tag)


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
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise UserError(
            f"{folder}: already holds {', '.join(there)}. Move them away, or give another --out."
        )
    source = source or DUMPS
    # Kept while a transfer is unfinished. One per source, so that files of two are never mixed.
    work = folder / f".download-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    files = [path for name in names if (path := fetch(source, name, work))]
    missing = [name for name in names if name not in {path.name for path in files}]
    if set(missing) & {published.dump, *NEEDED}:
        raise UserError(f"{source}: has no {', '.join(missing)}. Give another source with --from.")
    if missing:
        say(f"the source has no {', '.join(missing)}; these files are optional")
    try:
        check_dump(files[0], published) if raw else check_published_set(work, published)
        return [path.replace(folder / path.name) for path in files]
    finally:
        shutil.rmtree(work)


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
