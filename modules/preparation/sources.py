"""The bytes of a file, from a folder or a server, as they come.

Nothing that a server says is taken on trust: its answers name no paths, what they say is shown as a
quoted string, and a continuation counts only if it begins where the part ends and is of the same
version.
"""

import re
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

from utils.errors import UserError, limit

BLOCK = 1 << 18
TIMEOUT = 30  # seconds without a byte

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
TAG = re.compile(r"[ -~]{1,200}")  # what may go back to the server in a header


class Interrupted(Exception):
    """The transfer broke off, and can be tried again. The message says why."""


class Unreachable(Interrupted):
    """The source does not answer at all."""


class StartAgain(Exception):
    """What is there of the file cannot be continued. The message says why."""


class Reply(NamedTuple):
    """A source's answer to a request for a file from a byte on."""

    start: int  # position of the first byte that comes
    size: int | None  # bytes of the whole file; None where the source does not say
    tag: str  # of this version of the file; "" where the source has none


class Known(NamedTuple):
    """What is there of a file."""

    have: int = 0  # bytes
    tag: str = ""  # of the version that they are of
    size: int | None = None


def answer(source: str, name: str, known: Known) -> Iterator[Reply | bytes | None]:
    """Ask for a file from a byte on: yields a Reply and then blocks of bytes, or None, where there
    is no such file."""
    try:
        scheme = urlsplit(source).scheme if "://" in source else "file"
        if scheme not in ("http", "https", "file"):
            raise UserError(
                f"--from {source}: {scheme}:// cannot be read. Use http, https or file."
            )
        yield from (_of_folder if scheme == "file" else _of_server)(source, name, known)
    except HTTPError as error:
        yield from _refused(source, name, known, error)
    except URLError as error:  # of what happens before there is a connection
        raise Unreachable(limit(str(error.reason), 200)) from error
    except (OSError, HTTPException) as error:
        raise Interrupted(limit(str(error) or type(error).__name__, 200)) from error
    except ValueError as error:  # of the source, or of a redirection
        raise UserError(
            f"{source}/{name}: leads to an address that cannot be read "
            f"({limit(str(error), 200)}). Check it in a browser."
        ) from error


def _refused(source: str, name: str, known: Known, error: HTTPError) -> Iterator[None]:
    error.close()  # its connection
    said = f"the server answers {error.code} {limit(str(error.reason), 100)}"
    if error.code == 416 and known.have:
        raise StartAgain(said) from error
    if error.code >= 500:
        raise Interrupted(said) from error
    if error.code != 404:
        raise UserError(f"{source}/{name}: {said}. Check the address in a browser.") from error
    yield None


def _of_folder(source: str, name: str, known: Known) -> Iterator[Reply | bytes | None]:
    path = urllib.request.url2pathname(urlsplit(source).path) if "://" in source else source
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"--from {source}: no such folder. Name the folder with the files.")
    if not (folder / name).is_file():
        yield None
        return
    with (folder / name).open("rb") as file:
        stat = (folder / name).stat()
        tag = f"{stat.st_mtime_ns}-{stat.st_size}"
        yield Reply(file.seek(known.have if known.tag == tag else 0), stat.st_size, tag)
        while block := file.read(BLOCK):
            yield block


def _opener() -> urllib.request.OpenerDirector:
    """As ``urlopen``, proxies too, but a redirection leads nowhere but to http and https."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _of_server(source: str, name: str, known: Known) -> Iterator[Reply | bytes]:
    where = f"{source.rstrip('/')}/{quote(name)}"
    request = urllib.request.Request(where, headers={"Accept-Encoding": "identity"})
    if known.have:  # from this byte on, if the file is unchanged; else all of it
        request.add_header("Range", f"bytes={known.have}-")
        request.add_header("If-Range", known.tag)
    with _opener().open(request, timeout=TIMEOUT) as response:
        _checkanswer(where, name, response)
        length = response.headers.get("Content-Length")
        expected = None if response.chunked or length is None else int(length)
        tag = response.headers.get("ETag", "")
        if not tag or tag.startswith("W/"):  # a weak one allows other bytes
            tag = response.headers.get("Last-Modified", "")
        if response.status == 206:
            yield _continuation(response, known, tag, expected)
        else:
            yield Reply(0, expected, tag if TAG.fullmatch(tag) else "")
        while block := response.read1(BLOCK):  # what is there; read() would wait for all of it
            yield block


def _checkanswer(where: str, name: str, response: HTTPResponse) -> None:
    """UserError where the answer is no file, or is packed, or of a length that is no number."""
    if response.status not in (200, 206):
        raise UserError(
            f"{where}: the server answers {response.status} {limit(response.reason, 100)}, which "
            "brings no file. Check the address in a browser."
        )
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    packed = name.endswith(".gz") and encoding in ("gzip", "x-gzip")  # it is the file that is
    if encoding != "identity" and not packed:
        raise UserError(
            f"{where}: the server packs it (Content-Encoding: {limit(encoding)}), though it is "
            "asked not to. Get the file by a browser, and name its folder with --from."
        )
    length = response.headers.get("Content-Length")
    if length is not None and not _LENGTH.fullmatch(length.strip()):
        raise UserError(
            f"{where}: the server gives {limit(length)} as its length (Content-Length). It must "
            "be a number of bytes; give another source with --from."
        )


def _continuation(response: HTTPResponse, known: Known, tag: str, expected: int | None) -> Reply:
    """The Reply of a 206; StartAgain where it does not continue what is there."""
    said = response.headers.get("Content-Range", "")
    found = _RANGE.fullmatch(said.strip())
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    size = known.size if found is None or found[3] == "*" else int(found[3])
    if not known.have or first != known.have or last < first or tag != known.tag:
        raise StartAgain(
            f"the server continues at {limit(said)} of version {limit(tag)}; there are "
            f"{known.have:,} bytes of version {limit(known.tag)}"
        )
    lengths = {last + 1, size, known.size, None if expected is None else first + expected}
    if len(lengths - {None}) > 1:
        raise StartAgain(f"the server says {limit(said)}, and other lengths too")
    return Reply(first, last + 1, tag)
