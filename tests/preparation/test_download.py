"""Getting data: from folders, file:// and a server on this machine that interrupts, too."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modules.data.reader import load_dataset
from modules.preparation import download
from modules.preparation.download import PublishedSet, fetch
from tests.conftest import HISTORIES
from tests.test_scripts import script
from utils.errors import UserError

FEW = PublishedSet(4, 12, sum(map(len, HISTORIES.values())), "reviews_Few_5.json.gz")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """A published set of four users, and no waiting between tries."""
    monkeypatch.setitem(download.SETS, "few", FEW)
    monkeypatch.setattr(download, "PAUSE", 0.0)


class Server:
    """Serves ``files``; ``breaks``: after how many bytes each of the next answers ends."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.tag = '"one"'
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler):
                self.answer(handler)

            def log_message(handler, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/data"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, handler) -> None:
        name, asked = handler.path.removeprefix("/data/"), handler.headers.get("Range")
        self.asked.append((name, asked))
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
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        if self.tag:
            handler.send_header("ETag", self.tag)
        handler.end_headers()
        body = content[start:]
        handler.wfile.write(body[: self.breaks.pop(0)] if self.breaks else body)


@pytest.fixture
def server():
    own = Server()
    yield own
    own.http.shutdown()
    own.http.server_close()


def test_from_a_folder_and_file_url(folder, tmp_path):
    for source in (str(folder), folder.as_uri()):
        out = tmp_path / source.split(":")[0].replace("/", "_")
        files = download.download("few", source, False, out)
        assert sorted(path.name for path in files) == sorted(path.name for path in folder.iterdir())
        assert sorted(out.iterdir()) == sorted(files)
        for path in files:
            assert path.read_bytes() == (folder / path.name).read_bytes()
        load_dataset(out)


def test_from_a_server_without_the_optional_files(folder, tmp_path, server, capsys):
    server.files = {n: (folder / n).read_bytes() for n in ("sequential.txt", "datamaps.json")}
    download.download("few", server.url, False, tmp_path / "out")
    assert "has no negative.txt, explanation.json" in capsys.readouterr().out
    assert load_dataset(tmp_path / "out").n_users == 4


CONTENT = bytes(range(256)) * 40


def test_an_interrupted_transfer_is_resumed(tmp_path, server):
    server.files, server.breaks = {"a": CONTENT}, [1000, 500]
    assert fetch(server.url, "a", tmp_path).read_bytes() == CONTENT
    assert server.asked == [("a", None), ("a", "bytes=1000-"), ("a", "bytes=1500-")]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_next_call_continues(tmp_path, server):
    server.files, server.breaks = {"a": CONTENT}, [100] * download.TRIES
    with pytest.raises(UserError, match=r"interrupted 4 times \(400 of 10,240 bytes received\)"):
        fetch(server.url, "a", tmp_path)
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:400]
    assert fetch(server.url, "a", tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("a", "bytes=400-")
    assert fetch(server.url, "a", tmp_path).read_bytes() == CONTENT  # complete: not asked again
    assert len(server.asked) == 5


@pytest.mark.parametrize("change", ["another version", "no ranges", "no tag", "too long"])
def test_what_cannot_be_resumed_starts_again(tmp_path, server, monkeypatch, change):
    monkeypatch.setattr(download, "TRIES", 1)
    server.files, server.breaks = {"a": CONTENT}, [1000]
    server.tag = "" if change == "no tag" else server.tag
    with pytest.raises(UserError):
        fetch(server.url, "a", tmp_path)
    if change == "another version":
        server.files["a"], server.tag = CONTENT[::-1], '"two"'
    if change == "no ranges":
        server.ranges = False
    if change == "too long":
        with (tmp_path / "a.part").open("ab") as file:
            file.write(bytes(20_000))
    monkeypatch.setattr(download, "TRIES", 2)
    assert fetch(server.url, "a", tmp_path).read_bytes() == server.files["a"]


def test_a_copy_from_a_folder_is_resumed(tmp_path):
    source, work = tmp_path / "source", tmp_path / "work"
    source.mkdir()
    (source / "a").write_bytes(CONTENT)
    work.mkdir()
    stat = (source / "a").stat()
    (work / "a.part").write_bytes(b"?" * 1000)  # to see that it is kept
    (work / "a.part.tag").write_text(f"{stat.st_mtime_ns}-{stat.st_size}")
    assert fetch(str(source), "a", work).read_bytes() == b"?" * 1000 + CONTENT[1000:]


def test_raw_dump(tmp_path, monkeypatch):
    rows = [
        {"reviewerID": f"U{u}", "asin": f"I{i}", "unixReviewTime": k}
        for u, items in HISTORIES.items()
        for k, i in enumerate(items)
    ]
    source = tmp_path / "source"
    source.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (source / FEW.dump).write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr(download, "DUMPS", source.as_uri())
    assert download.download("few", None, True, tmp_path / "out") == [tmp_path / "out" / FEW.dump]
    (source / FEW.dump).write_bytes(gzip.compress(text[: text.rindex("{")].encode()))
    with pytest.raises(UserError, match=r"have 18 interactions, the published set 19"):
        download.download("few", None, True, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_what_is_not_the_published_set_is_deleted(folder, tmp_path):
    path = folder / "sequential.txt"
    path.write_text(path.read_text().replace("4 12 11 10 9", "4 12 11 10 9 8"))
    with pytest.raises(UserError, match=r"the files have 20 interactions, the published set 19"):
        download.download("few", str(folder), False, tmp_path / "out")
    path.write_text("<html>Please log in</html>")
    with pytest.raises(UserError, match=r"sequential\.txt, line 1"):
        download.download("few", str(folder), False, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_refused(folder, tmp_path, server):
    (folder / "datamaps.json").unlink()
    server.files = {}
    out = tmp_path / "out"
    for source, message in (
        (None, "no --from: for the four files no lasting public address is known"),
        ("ftp://example.org/x", "ftp:// cannot be read"),
        (str(tmp_path / "nowhere"), "no such folder"),
        (str(folder), "has no datamaps.json"),
        (server.url, "has no sequential.txt, datamaps.json"),
    ):
        with pytest.raises(UserError, match=message):
            download.download("few", source, False, out)
    (out / "sequential.txt").write_text("x")
    with pytest.raises(UserError, match=r"already holds sequential\.txt"):
        download.download("few", str(folder), False, out)
    done = script("-m", "modules.preparation.download", "beauty", "--out", tmp_path / "x")
    assert done.returncode == 2
    assert "--raw and run prepare.py" in done.stderr


def test_real_set_from_a_folder(shared, tmp_path):
    out = tmp_path / "beauty"
    done = script(
        "-m",
        "modules.preparation.download",
        "beauty",
        "--from",
        shared / "data/beauty",
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    assert "22,363 users, 12,101 items, 198,502 interactions, as published" in done.stdout
