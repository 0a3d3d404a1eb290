"""What may be replaced, and what is left as it is."""

import os

import pytest

from utils.errors import UserError
from utils.own_files import check_out, is_own, replace_own
from utils.pages import PAGE_HEADS

HEADS = ("<ours>", "<older>")


def folder_at(path):
    path.mkdir()


def pipe_at(path):
    os.mkfifo(path)


def link_at(path):
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("content", ["mine", "", "<our", " <ours>", "<ours>", "<older> text"])
def test_only_what_begins_as_ours_is_replaced(tmp_path, capsys, content):
    path = tmp_path / "page"
    path.write_text(content)
    ours = content == "" or content.startswith(HEADS)
    assert is_own(path, HEADS) == replace_own(path, "new", HEADS) == ours
    assert path.read_text() == ("new" if ours else content)
    assert ("left as it is" in capsys.readouterr().out) != ours


@pytest.mark.parametrize("make", [folder_at, pipe_at, link_at])
def test_what_is_no_file_is_somebody_elses(tmp_path, make):
    path = tmp_path / "page"
    make(path)
    before = os.lstat(path)
    assert not replace_own(path, "new", HEADS)
    assert os.lstat(path)[:-3] == before[:-3]
    assert [p.name for p in tmp_path.iterdir()] == ["page"]


def test_an_out_file_is_new_or_may_be_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "t.csv"
    check_out(path, overwrite=False)
    assert not path.parent.exists()  # asked, and nothing made
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(UserError, match=r"--out .*t\.csv: is there already.*--overwrite"):
        check_out(path, overwrite=False)
    check_out(path, overwrite=True)
    with pytest.raises(UserError, match=r"--out .*/b: is a folder"):
        check_out(path.parent, overwrite=True)
    with pytest.raises(UserError, match=r"t\.csv is a file\. Name another folder"):
        check_out(path / "below", overwrite=False)


def test_pages_begin_as_ours():
    assert len({*PAGE_HEADS}) == 2
    assert all(head.startswith("<!doctype html>\n") for head in PAGE_HEADS)
