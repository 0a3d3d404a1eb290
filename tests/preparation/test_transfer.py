"""One file: resumed where it broke off, and given up where it does not end."""

import time

import pytest

from modules.preparation import sources, transfer
from modules.preparation.sources import Unreachable
from modules.preparation.transfer import fetch
from tests.preparation.servers import CONTENT, FILE, MOST, RANGE, broken_off, get, send
from utils.errors import UserError

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


SILENT = {
    "a header that drips": slowly(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 5000),
    "a first line that drips": slowly(b"HTTP/1.1 " + b"2" * 5000),
    "nothing": lambda handler: time.sleep(1),
}


@pytest.mark.parametrize("case", SILENT)
def test_a_server_without_an_answer_is_asked_once(tmp_path, server, monkeypatch, case):
    monkeypatch.setattr(transfer, "ANSWER", 0.3)
    server.lies = [SILENT[case]]
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"no answer in 0\.3 seconds"):
        get(server, tmp_path)
    assert time.monotonic() - started < 20
    assert len(server.asked) == 1
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_server_that_goes_away_is_asked_again(tmp_path, server, monkeypatch):
    """It has answered once, so that it may well come back."""
    monkeypatch.setattr(transfer, "ANSWER", 0.3)
    server.lies = [send(200, FILE, CONTENT[:1000]), SILENT["nothing"]]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("a", None), ("a", "bytes=1000-"), ("a", "bytes=1000-")]


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
    with pytest.raises(
        (UserError, Unreachable), match=r"cannot be read|interrupted 4 times|no host given"
    ):
        fetch(source, "a", tmp_path, MOST)
