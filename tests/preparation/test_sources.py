"""Answers of servers that are no file, or another one than was begun."""

import pytest

from modules.preparation import transfer
from tests.preparation.servers import CONTENT, FILE, RANGE, REST, broken_off, get, send
from utils.errors import UserError

WRONG_CONTINUATIONS = {
    "another version": {"Content-Range": RANGE, "ETag": '"two"'},
    "no version": {"Content-Range": RANGE},
    "a weak tag": {"Content-Range": RANGE, "ETag": 'W/"one"'},
    "another start": {
        "Content-Range": "bytes 999-10239/10240",
        "ETag": '"one"',
        "Content-Length": len(REST) + 1,
    },
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
    server.lies = [send(206, headers, b"X" * int(headers["Content-Length"]))]
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
