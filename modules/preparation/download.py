"""Get a published data set: its files, or the raw reviews that they were made of.

    python -m modules.preparation.download beauty --from https://example.org/beauty
    python -m modules.preparation.download beauty --from ~/Downloads/beauty
    python -m modules.preparation.download beauty --raw

Files come from a folder, given as http(s)://, file:// or a plain path; they go to data/<name>/.
For the four files no lasting public address is known, so --from is due; --raw, for prepare.py,
knows where Stanford keeps the Amazon dumps of 2014. A transfer that breaks off goes on where it
stopped, a few times at once, later with the next call. What came is held against the published
statistics before it takes its place.
"""

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


class Published(NamedTuple):
    """A published set: its sizes, and its 5-core dump of reviews."""

    users: int
    items: int
    interactions: int
    dump: str


SETS = {
    "beauty": Published(22_363, 12_101, 198_502, "reviews_Beauty_5.json.gz"),
    "sports": Published(35_598, 18_357, 296_337, "reviews_Sports_and_Outdoors_5.json.gz"),
    "toys": Published(19_412, 11_924, 167_597, "reviews_Toys_and_Games_5.json.gz"),
}
DUMPS = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
NEEDED = ("sequential.txt", "datamaps.json")
OPTIONAL = ("negative.txt", "explanation.json")
BLOCK = 1 << 18
TRIES = 4  # of a transfer that breaks off, before it is left to the next call
PAUSE = 1.0  # seconds before the second try; doubled before each later one
TIMEOUT = 30  # seconds without a byte


class Reply(NamedTuple):
    """A source's answer to "this file, from this byte on"."""

    body: BinaryIO
    start: int  # the byte that the body begins with
    size: int | None  # bytes of the whole file, where the source tells
    tag: str  # tells one version of the file from another; "" where the source has none


def fetch(source: str, name: str, folder: Path) -> Path | None:
    """Get one file into a folder, resuming what an earlier call has left as ``<name>.part``.

    Args:
        source: folder: http(s)://, file://, or a path.

    Returns:
        The file; None where the source has none of this name.

    Raises:
        UserError: where the source cannot be read, or the transfer breaks off again and again.
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
            if isinstance(error, HTTPError) and error.code == 416:  # no such byte: begin again
                part.unlink()
            elif isinstance(error, HTTPError) and error.code < 500:
                raise UserError(f"{source}/{name}: {error.code} {error.reason}.") from error
            problem = error
            have = part.stat().st_size if part.exists() else 0
            say(f"{name}: broken off after {have:,} bytes ({error or type(error).__name__})")
            continue
        part.replace(target)
        _tag_file(part).unlink(missing_ok=True)
        return target
    raise UserError(
        f"{source}/{name}: no luck in {TRIES} tries ({problem}). Run the command again to go on "
        f"from {part}."
    )


def _tag_file(part: Path) -> Path:
    """Where it is noted which version of a file a part is of."""
    return part.with_name(part.name + ".tag")


def _transfer(source: str, name: str, part: Path) -> bool:
    """Append to ``part`` what is missing; False where there is no such file. Raises OSError or
    HTTPException where the transfer breaks off."""
    tag = _tag_file(part)
    known = tag.read_text() if part.exists() and tag.exists() else ""
    have = part.stat().st_size if known else 0  # without a tag it cannot be gone on with
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
        raise ConnectionError(f"{part.stat().st_size:,} of {reply.size:,} bytes came")
    return True


@contextmanager
def _open(source: str, name: str, start: int, known: str) -> Iterator[Reply | None]:
    """Ask for a file from a byte on; None: it is not there. known: tag of the version begun."""
    scheme = urlsplit(source).scheme if "://" in source else "file"
    if scheme not in ("http", "https", "file"):
        raise UserError(f"--from {source}: {scheme}:// is not read; http, https and file are.")
    reply = (_open_path if scheme == "file" else _open_url)(source, name, start, known)
    try:
        yield reply
    finally:
        if reply is not None:
            reply.body.close()


def _open_path(source: str, name: str, start: int, known: str) -> Reply | None:
    folder = Path(url2pathname(urlsplit(source).path) if "://" in source else source).expanduser()
    if not folder.is_dir():
        raise UserError(f"--from {source}: no such folder.")
    path = folder / name
    if not path.is_file():
        return None
    stat = path.stat()
    tag = f"{stat.st_mtime_ns}-{stat.st_size}"
    body = path.open("rb")
    return Reply(body, body.seek(start if known == tag else 0), stat.st_size, tag)


def _open_url(source: str, name: str, start: int, known: str) -> Reply | None:
    request = Request(f"{source.rstrip('/')}/{quote(name)}")
    if start:  # from this byte on, if the file is still what it was; else all of it
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
    if not tag or tag.startswith("W/"):  # a weak one does not vouch for every byte
        tag = response.headers.get("Last-Modified", "")
    return Reply(response, begins, size, tag)


def check_files(folder: Path, published: Published) -> None:
    """UserError where a data folder is not the published set."""
    dataset = load_dataset(folder)
    _check((dataset.n_users, dataset.n_items, len(dataset.items)), published)


def check_dump(path: Path, published: Published) -> None:
    """UserError where a dump of reviews is not the one that the published set was made of."""
    users: set[str] = set()
    items: set[str] = set()
    interactions = 0
    raw = open_raw(path, None, None, {})
    for rows in read_rows(raw, BadLines(path, strict=True), lambda share: None):
        users.update(rows.users)
        items.update(rows.items)
        interactions += len(rows.users)
    _check((len(users), len(items), interactions), published)


def _check(have: tuple[int, int, int], published: Published) -> None:
    for what, came, due in zip(("users", "items", "interactions"), have, published):
        if came != due:
            raise UserError(
                f"what came has {came:,} {what}, the published set {due:,}. It is thrown away; "
                "--from must name another source."
            )
    say(f"{have[0]:,} users, {have[1]:,} items, {have[2]:,} interactions, as published")


def download(name: str, source: str | None, raw: bool, folder: Path) -> list[Path]:
    """Get a published set to ``folder``; the files that came."""
    published = SETS[name]
    if source is None and not raw:
        raise UserError(
            "no --from: of the four files no lasting public address is known. Get them by the "
            "links in the repositories of P5 and POD and name the folder, or a URL, with --from; "
            f"or get the raw reviews ({DUMPS}) with --raw and run prepare.py on them."
        )
    names = (published.dump,) if raw else (*NEEDED, *OPTIONAL)
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise UserError(f"{folder}: holds {', '.join(there)}. Move it away, or choose an --out.")
    source = source or DUMPS
    # Kept while a transfer is unfinished; one a source, so that files of two are never mixed.
    work = folder / f".download-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    came = [path for name in names if (path := fetch(source, name, work))]
    missing = [name for name in names if name not in {path.name for path in came}]
    if set(missing) & {published.dump, *NEEDED}:
        raise UserError(f"{source}: has no {', '.join(missing)}.")
    if missing:
        say(f"the source has no {', '.join(missing)}; a data folder does without")
    try:
        check_dump(came[0], published) if raw else check_files(work, published)
        moved = [path.replace(folder / path.name) for path in came]
    finally:
        shutil.rmtree(work)
    return moved


def main() -> None:
    """Fetch, check, move into place."""
    parser = cli.new_parser(__doc__)
    parser.add_argument("name", choices=SETS, help="which set")
    parser.add_argument("--from", dest="source", metavar="URL_OR_FOLDER", help="where files lie")
    parser.add_argument("--raw", action="store_true", help="the dump of reviews it was made of")
    parser.add_argument("--out", metavar="FOLDER", help="default: data/<name>")
    args = parser.parse_args()
    folder = Path(args.out or Path("data") / args.name)
    for path in download(args.name, args.source, args.raw, folder):
        say(f"{path} ({path.stat().st_size:,} bytes)")


if __name__ == "__main__":
    cli.run(main)
