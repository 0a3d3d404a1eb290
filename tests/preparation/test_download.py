"""Getting data sets: from folders, file:// and a server on this machine."""

import gzip
import json
import threading
import time

import pytest

from modules.data.reader import load_dataset
from modules.preparation import download, transfer
from modules.preparation.download import PublishedSet
from tests.conftest import HISTORIES
from tests.preparation.servers import send
from tests.test_scripts import script
from utils.errors import UserError

FEW = PublishedSet(4, 12, sum(map(len, HISTORIES.values())), "reviews_Few_5.json.gz")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """A published set of four users."""
    monkeypatch.setitem(download.SETS, "few", FEW)


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
    assert not (tmp_path / "other").exists()


def test_what_is_not_the_published_set_is_deleted(folder, tmp_path):
    path = folder / "sequential.txt"
    path.write_text(path.read_text().replace("4 12 11 10 9", "4 12 11 10 9 8"))
    with pytest.raises(UserError, match=r"the files have 20 interactions, the published set 19"):
        download.download("few", str(folder), False, tmp_path / "out")
    path.write_text("<html>Please log in</html>")
    with pytest.raises(UserError, match=r"sequential\.txt, line 1"):
        download.download("few", str(folder), False, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refused(folder, tmp_path, server):
    (folder / "datamaps.json").unlink()
    server.files = {}
    out = tmp_path / "out"
    for source, message in (
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


# ---------------------------------------------------------------- the set's own address


@pytest.fixture
def authors(folder, server, monkeypatch):
    """The server in the place of GitHub, with the four files of the set "few"."""
    at = server.url.removesuffix("/data")
    monkeypatch.setattr(download, "GITHUB", f"{at}/raw")
    monkeypatch.setattr(download, "GITHUB_LFS", f"{at}/lfs")
    monkeypatch.setattr(download, "AUTHORS", f"{at}/raw/o/r/b28c4f7/data")
    server.files = {
        f"/raw/o/r/b28c4f7/data/few/{path.name}": path.read_bytes() for path in folder.iterdir()
    }
    return server


def test_the_address_is_the_commit_of_the_authors():
    assert download.AUTHORS.startswith(download.GITHUB + "/WangXFng/ELMRec/b28c4f7")
    assert set(download.SETS) >= {"beauty", "sports", "toys"}


def test_without_a_source_it_is_the_authors(authors, folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["download", "few", "--out", str(out)])
    download.main()
    assert "4 users, 12 items, 19 interactions, as published" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_a_file_that_has_moved(authors, tmp_path):
    authors.files = {f"/elsewhere{name}": content for name, content in authors.files.items()}

    def moved(handler):
        send(302, {"Location": f"/elsewhere{handler.path}"})(handler)
        authors.lies.append(true)

    def true(handler):
        authors.lies.append(moved)
        content = authors.files[handler.path]
        send(200, {"Content-Length": len(content)}, content)(handler)

    authors.lies = [moved]
    assert len(download.download("few", None, False, tmp_path / "out")) == 4
    assert load_dataset(tmp_path / "out").n_users == 4


def test_a_pointer_of_git_lfs_is_not_the_file(authors, folder, tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
    name = next(name for name in authors.files if name.endswith("explanation.json"))
    stored = name.replace("/raw/", "/lfs/")
    for path in list(authors.files):
        authors.files[path.replace("/raw/", "/lfs/")] = authors.files[path]
    authors.files[name] = pointer
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"explanation\.json: is a pointer of Git LFS") as raised:
        download.download("few", None, False, out)
    assert not out.exists()
    advised = str(raised.value).rpartition(" --from ")[2].removesuffix(".")
    assert advised.endswith("/lfs/o/r/b28c4f7/data/few")
    assert len(download.download("few", advised, False, out)) == 4
    assert (out / "explanation.json").read_bytes() == authors.files[stored]
    (folder / "negative.txt").write_bytes(pointer)
    with pytest.raises(UserError, match=r"is a pointer of Git LFS.*Run `git lfs pull`"):
        download.download("few", str(folder), False, tmp_path / "other")


def test_the_authors_without_the_set_or_with_another(authors, tmp_path):
    out = tmp_path / "out"
    name = next(name for name in authors.files if name.endswith("sequential.txt"))
    content = authors.files[name]
    authors.files[name] = content.replace(b"4 12 11 10 9", b"4 12 11 10 9 8")
    with pytest.raises(UserError, match="the files have 20 interactions, the published set 19"):
        download.download("few", None, False, out)
    authors.files = {}
    with pytest.raises(UserError, match=r"few: has no sequential\.txt, datamaps\.json"):
        download.download("few", None, False, out)
    assert not out.exists()


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:1", "http://no.such.host.invalid", "the server is silent"]
)
def test_without_a_network_it_says_so_at_once(server, tmp_path, monkeypatch, base):
    if base == "the server is silent":
        monkeypatch.setattr(transfer, "ANSWER", 0.3)
        base, server.lies = server.url, [lambda handler: time.sleep(1)]
    monkeypatch.setattr(transfer, "PAUSE", 60.0)  # there is no second try
    monkeypatch.setattr(download, "AUTHORS", base)
    with pytest.raises(UserError, match=r"/few: cannot be reached \(.*--from.*--raw"):
        download.download("few", None, False, tmp_path / "x")
    with pytest.raises(UserError, match=r"cannot be reached \(.*--from\.$"):
        download.download("few", "http://127.0.0.1:1", True, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# ---------------------------------------------------------------- one folder


def test_the_second_of_two_downloads_is_refused(folder, tmp_path, server):
    """While the first waits for the server; from another source too."""
    out, asked, go_on = tmp_path / "out", threading.Event(), threading.Event()

    def wait(handler):
        asked.set()
        go_on.wait(20)
        handler.send_error(404)

    server.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    server.lies = [wait]
    failed = []

    def first():
        try:
            download.download("few", server.url, False, out)
        except UserError as error:
            failed.append(str(error))

    thread = threading.Thread(target=first)
    thread.start()
    assert asked.wait(20)
    for source in (server.url, str(folder)):
        with pytest.raises(UserError, match="writes there"):
            download.download("few", source, False, out)
    go_on.set()
    thread.join()
    assert failed == [f"{server.url}: has no sequential.txt. Give another source with --from."]
    download.download("few", str(folder), False, out)
    assert load_dataset(out).n_users == 4
    assert not (out / ".elmrec.lock").exists()


def test_nothing_else_is_deleted_or_replaced(folder, tmp_path):
    out = tmp_path / "out"
    (folder / "datamaps.json").rename(away := tmp_path / "datamaps.json")
    with pytest.raises(UserError, match=r"has no datamaps\.json"):
        download.download("few", str(folder), False, out)
    (work,) = (path for path in out.iterdir() if path.is_dir())
    (work / "thesis.txt").write_text("mine")
    away.rename(folder / "datamaps.json")
    download.download("few", str(folder), False, out)
    assert (work / "thesis.txt").read_text() == "mine"
    assert [path.name for path in work.iterdir()] == ["thesis.txt"]


def test_a_file_that_appears_meanwhile_is_not_replaced(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def check(*_):
        (out / "negative.txt").write_text("mine")

    monkeypatch.setattr(download, "check_published_set", check)
    with pytest.raises(UserError, match=r"already holds negative\.txt"):
        download.download("few", str(folder), False, out)
    assert [path.name for path in out.iterdir()] == ["negative.txt"]
    assert (out / "negative.txt").read_text() == "mine"


def test_a_planted_work_folder(folder, tmp_path):
    (victim := tmp_path / "victim").mkdir()
    (folder / "datamaps.json").rename(tmp_path / "datamaps.json")
    with pytest.raises(UserError, match="has no"):
        download.download("few", str(folder), False, out := tmp_path / "out")
    (work,) = (path for path in out.iterdir() if path.is_dir())
    work.rename(tmp_path / "moved")
    work.symlink_to(victim)
    with pytest.raises(UserError, match="is a link, which this program does not make"):
        download.download("few", str(folder), False, out)
    assert list(victim.iterdir()) == []


def test_a_folder_that_cannot_be_made(folder, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(UserError, match=f"--out {out}: no lock can be taken"):
            download.download("few", str(folder), False, out)
