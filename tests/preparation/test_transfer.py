"""One file: from a folder, and from servers on this machine that interrupt, drip and lie."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modules.preparation import sources, transfer
from modules.preparation.transfer import fetch
from utils.errors import UserError

CONTENT = bytes(range(256)) * 40
MOST = 1 << 20


class Server:
    """Serves ``files``; ``breaks``: after how many bytes each of the next answers ends.

    ``lies``: each takes a handler and answers one request, in place of what is true.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"a": CONTENT}
        self.breaks: list[int] = []
        self.lies: list = []
        self.tag = '"one"'
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler):
                self.answer(handler)

            def log_message(handler, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/data"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler) -> None:
        name, asked = handler.path.removeprefix("/data/"), handler.headers.get("Range")
        self.asked.append((name, asked))
        if self.lies:
            self.lies.pop(0)(handler)
            return
        content = self.files.get(name)
        if content is None:
            handler.send_error(404)
            return
        start = 0
        if asked and self.ranges and handler.headers.get("If-Range") == self.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                handler.send_error(416)
                return
        headers = {"Content-Length": len(content) - start, "ETag": self.tag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        send(206 if start else 200, headers, body[: self.breaks.pop(0)] if self.breaks else body)(
            handler
        )


def send(code, headers, *blocks, pause=0.0, reason=None):
    """An answer. Blocks are sent one after another; one that is no bytes is called for them."""

    def lie(handler):
        handler.send_response(code, reason)
        for name, value in headers.items():
            if value:
                handler.send_header(name, str(value))
        handler.end_headers()
        try:
            for block in blocks:
                for part in (block,) if isinstance(block, bytes) else block():
                    handler.wfile.write(part)
                    handler.wfile.flush()
                    time.sleep(pause)
        except OSError:
            pass  # the client has heard enough

    return lie


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    own = Server()
    yield own
    own.http.shutdown()
    own.http.server_close()


def get(server, folder, name="a"):
    return fetch(server.url, name, folder, MOST)


def broken_off(server, folder, after=1000):
    """A part of ``after`` bytes."""
    tries, transfer.TRIES = transfer.TRIES, 1
    try:
        server.breaks = [after]
        with pytest.raises(UserError, match="interrupted 1 times"):
            get(server, folder)
    finally:
        transfer.TRIES = tries
    server.asked.clear()


# ---------------------------------------------------------------- resuming


def test_an_interrupted_transfer_is_resumed(tmp_path, server):
    server.breaks = [1000, 500]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("a", None), ("a", "bytes=1000-"), ("a", "bytes=1500-")]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_next_call_continues(tmp_path, server):
    server.breaks = [100] * transfer.TRIES
    with pytest.raises(UserError, match=r"interrupted 4 times \(400 of 10,240 bytes received\)"):
        get(server, tmp_path)
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:400]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("a", "bytes=400-")
    assert get(server, tmp_path).read_bytes() == CONTENT  # complete: not asked again
    assert len(server.asked) == 5


def test_what_cannot_be_resumed_is_not_kept(tmp_path, server):
    server.tag, server.breaks = "", [1000] * transfer.TRIES
    with pytest.raises(UserError, match=r"1,000 of 10,240 .*\. Run the command again\.$"):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert {asked for _, asked in server.asked} == {None}


@pytest.mark.parametrize("change", ["another version", "no ranges", "too long", "a damaged tag"])
def test_what_cannot_be_resumed_starts_again(tmp_path, server, change):
    broken_off(server, tmp_path)
    if change == "another version":
        server.files["a"], server.tag = CONTENT[::-1], '"two"'
    if change == "no ranges":
        server.ranges = False
    if change == "too long":
        with (tmp_path / "a.part").open("ab") as file:
            file.write(bytes(20_000))
    if change == "a damaged tag":
        (tmp_path / "a.part.tag").write_text('{"tag": ["x"]}')
    assert get(server, tmp_path).read_bytes() == server.files["a"]


REST = CONTENT[1000:]
RANGE = "bytes 1000-10239/10240"
WRONG_CONTINUATIONS = {
    "another version": {"Content-Range": RANGE, "ETag": '"two"'},
    "no version": {"Content-Range": RANGE},
    "a weak tag": {"Content-Range": RANGE, "ETag": 'W/"one"'},
    "another start": {"Content-Range": "bytes 999-10239/10240", "ETag": '"one"'},
    "from the start": {"Content-Range": "bytes 0-10239/10240", "ETag": '"one"'},
    "another total": {"Content-Range": "bytes 1000-10239/20000", "ETag": '"one"'},
    "another end": {"Content-Range": "bytes 1000-9999/10240", "ETag": '"one"'},
    "backwards": {"Content-Range": "bytes 1000-5/10240", "ETag": '"one"'},
    "another length": {"Content-Range": RANGE, "ETag": '"one"', "Content-Length": 9000},
    "no range": {"ETag": '"one"'},
    "nonsense": {"Content-Range": "bytes \x1b[31m-/٣", "ETag": '"one"'},
    "words": {"Content-Range": "1000", "ETag": '"one"'},
}


@pytest.mark.parametrize("case", WRONG_CONTINUATIONS)
def test_a_continuation_is_of_the_same_file_or_it_starts_again(tmp_path, server, case, capsys):
    broken_off(server, tmp_path)
    headers = dict(WRONG_CONTINUATIONS[case])
    headers.setdefault("Content-Length", len(REST))
    headers = {
        k: v.encode().decode("latin-1") if k == "Content-Range" else v for k, v in headers.items()
    }
    server.lies = [send(206, headers, b"X" * len(REST))]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("a", "bytes=1000-"), ("a", None)]
    printed = capsys.readouterr().out
    assert "a: starts again (the server " in printed
    assert "\x1b" not in printed


def test_a_continuation_of_unknown_total(tmp_path, server):
    broken_off(server, tmp_path)
    server.lies = [send(206, {"Content-Range": "bytes 1000-10239/*", "ETag": '"one"'}, REST)]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_continuation_that_nobody_asked_for(tmp_path, server):
    server.lies = [send(206, {"Content-Range": RANGE, "ETag": '"one"'}, REST)] * transfer.TRIES
    with pytest.raises(
        UserError, match=r"interrupted 4 times .the server continues at 'bytes 1000"
    ):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_date_is_the_version_where_there_is_no_tag(tmp_path, server):
    dated = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "Content-Length": len(CONTENT)}
    server.lies = [
        send(200, dated, CONTENT[:1000]),
        send(206, {**dated, "Content-Range": RANGE, "Content-Length": len(REST)}, REST),
    ]
    assert get(server, tmp_path).read_bytes() == CONTENT


# ---------------------------------------------------------------- answers that are no file


@pytest.mark.parametrize("have", [False, True])
def test_a_range_that_cannot_be_had(tmp_path, server, have):
    if have:
        broken_off(server, tmp_path)
        server.lies = [send(416, {})]
        assert get(server, tmp_path).read_bytes() == CONTENT
    else:
        server.lies = [send(416, {})]
        with pytest.raises(UserError, match="the server answers 416"):
            get(server, tmp_path)


FILE = {"Content-Length": len(CONTENT), "ETag": '"one"'}
REFUSED = {
    "answers 403 'Forbidden'. Check the address": send(403, {}),
    r"answers 418 '\\x1b\[31mred'": send(418, {}, reason="\x1b[31mred"),
    "answers 204 'No Content', which brings no file": send(204, {}),
    "answers 302 'The HTTP server returned": send(302, {"Location": "/data/a"}),
    "answers 302 'Found'": send(302, {"Location": "ftp://127.0.0.1/a"}),
    "Redirection to url 'file:///etc/passwd'": send(302, {"Location": "file:///etc/passwd"}),
    "an address that cannot be read": send(302, {"Location": "http://[::1"}),
    "packs it .Content-Encoding: 'gzip'.": send(200, {**FILE, "Content-Encoding": "gzip"}, CONTENT),
    "'-5' as its length": send(200, {"Content-Length": "-5"}, CONTENT),
    "'10e3' as its length": send(200, {"Content-Length": "10e3"}, CONTENT),
    "'' as its length": send(200, {"Content-Length": " "}, CONTENT),
    "has more than 1,048,576 bytes": send(200, {"Content-Length": 10**15}),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_refused_at_once(tmp_path, server, message):
    server.lies = [REFUSED[message]] * 30  # redirections are followed ten times
    with pytest.raises(UserError, match=message) as raised:
        get(server, tmp_path)
    assert "\x1b" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    server.lies = []
    assert get(server, tmp_path).read_bytes() == CONTENT  # nothing of it is left


def test_a_packed_file_is_a_file(tmp_path, server):
    """Servers say of a .gz that its encoding is gzip: the bytes are the file's own."""
    server.lies = [send(200, {**FILE, "Content-Encoding": "x-gzip"}, CONTENT)]
    assert get(server, tmp_path, "a.gz").read_bytes() == CONTENT


def garbage(*lines):
    def lie(handler):
        handler.wfile.write(b"\r\n".join(lines))

    return lie


TRIED_AGAIN = {
    "out of service": send(503, {}),
    "too short": send(200, {"Content-Length": 10250}, CONTENT),
    "no HTTP": garbage(b"\x1b[31mnonsense", b""),
    "no answer": garbage(),
    "a long header": garbage(b"HTTP/1.1 200 OK", b"A: " + b"x" * 70_000, b"", b""),
    "many headers": garbage(b"HTTP/1.1 200 OK", *[b"A: x"] * 200, b"", b""),
    "a chunk cut short": send(200, {"Transfer-Encoding": "chunked"}, b"ffff\r\nabc"),
    "a chunk of no size": send(200, {"Transfer-Encoding": "chunked"}, b"zz\r\nabc"),
}


@pytest.mark.parametrize("case", TRIED_AGAIN)
def test_tried_again(tmp_path, server, case):
    server.lies = [TRIED_AGAIN[case]] * 2
    assert get(server, tmp_path).read_bytes() == CONTENT
    server.lies = [TRIED_AGAIN[case]] * 9
    with pytest.raises(UserError, match="interrupted 4 times") as raised:
        get(server, tmp_path / "other")
    assert "\x1b" not in str(raised.value)


# ---------------------------------------------------------------- without end


def endless(block=bytes(1 << 16)):
    while True:
        yield block


def endless_chunks():
    yield from endless(b"10000\r\n" + bytes(1 << 16) + b"\r\n")


@pytest.mark.parametrize(
    "lie",
    [
        send(200, {"ETag": '"one"'}, endless),
        send(200, {"Transfer-Encoding": "chunked"}, endless_chunks),
    ],
)
def test_a_body_without_end_ends_at_the_most(tmp_path, server, lie):
    server.lies = [lie]
    with pytest.raises(UserError, match="has more than 1,048,576 bytes, which the file cannot"):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_continuation_without_end(tmp_path, server):
    broken_off(server, tmp_path)
    server.lies = [send(206, {"Content-Range": RANGE, "ETag": '"one"'}, endless)]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("a", "bytes=1000-"), ("a", None)]


def test_a_folder_with_a_file_that_is_too_large(tmp_path):
    (tmp_path / "a").write_bytes(bytes(MOST + 1))
    with pytest.raises(UserError, match="has more than 1,048,576 bytes"):
        fetch(str(tmp_path), "a", tmp_path / "work", MOST)


def slowly(text):
    def lie(handler):
        try:
            for byte in text:
                handler.wfile.write(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            pass

    return lie


@pytest.mark.parametrize(
    "lie",
    [
        slowly(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 5000),
        slowly(b"HTTP/1.1 " + b"2" * 5000),
        send(200, FILE, *[b"x"] * 5000, pause=0.02),
        send(200, {"Transfer-Encoding": "chunked"}, *[b"0"] * 5000, pause=0.02),
        send(200, {"Transfer-Encoding": "chunked"}, *[b"1\r\nx\r\n"] * 5000, pause=0.02),
        send(200, FILE, CONTENT[:5000], *[b"x"] * 5000, pause=0.02),
    ],
)
def test_a_server_that_drips_is_given_up(tmp_path, server, monkeypatch, lie):
    monkeypatch.setattr(transfer, "WINDOW", 0.3)
    monkeypatch.setattr(transfer, "TRIES", 2)
    server.lies = [lie] * 2
    started = time.monotonic()
    with pytest.raises(UserError, match=r"bytes came in 0\.3 seconds, fewer than 4,096 a second"):
        get(server, tmp_path)
    assert time.monotonic() - started < 20
    assert get(server, tmp_path).read_bytes()


def test_a_server_that_is_slow_but_not_too_slow(tmp_path, server, monkeypatch):
    monkeypatch.setattr(transfer, "WINDOW", 0.3)
    blocks = [CONTENT[k : k + 1024] for k in range(0, len(CONTENT), 1024)]
    server.lies = [send(200, FILE, *blocks, pause=0.1)]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_server_that_falls_silent(tmp_path, server, monkeypatch):
    monkeypatch.setattr(sources, "TIMEOUT", 0.2)
    server.lies = [send(200, FILE, CONTENT[:1000], b"", pause=1.0)]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("a", None), ("a", "bytes=1000-")]


# ---------------------------------------------------------------- folders


def test_a_copy_from_a_folder_is_resumed(tmp_path):
    source, work = tmp_path / "source", tmp_path / "work"
    source.mkdir()
    (source / "a").write_bytes(CONTENT)
    work.mkdir()
    stat = (source / "a").stat()
    (work / "a.part").write_bytes(b"?" * 1000)  # to see that it is kept
    (work / "a.part.tag").write_text(f'{{"tag": "{stat.st_mtime_ns}-{stat.st_size}", "size": 9}}')
    assert fetch(str(source), "a", work, MOST).read_bytes() == b"?" * 1000 + CONTENT[1000:]


@pytest.mark.parametrize("name", ["a", "a.part", "a.part.tag"])
def test_a_planted_link_is_not_followed(tmp_path, server, name):
    (victim := tmp_path / "victim").write_bytes(b"mine")
    (work := tmp_path / "work").mkdir()
    (work / "a.part").write_bytes(CONTENT[:1000])
    (work / "a.part.tag").write_text('{"tag": "\\"one\\"", "size": 10240}')
    (work / name).unlink(missing_ok=True)
    (work / name).symlink_to(victim)
    path = get(server, work)
    assert path.read_bytes() == CONTENT
    assert not path.is_symlink()
    assert victim.read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written(tmp_path, server):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        get(server, tmp_path / "file" / "work")
    (tmp_path / "a.part").mkdir()
    with pytest.raises(UserError, match=r"a\.part: cannot be written"):
        get(server, tmp_path)


@pytest.mark.parametrize("source", ["http://[::1", "http://127.0.0.1:x", "https://", "http://a b"])
def test_addresses_that_are_none(tmp_path, source, monkeypatch):
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    with pytest.raises(UserError, match=r"cannot be read|interrupted 4 times"):
        fetch(source, "a", tmp_path, MOST)
