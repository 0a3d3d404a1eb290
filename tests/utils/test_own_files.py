"""What may be replaced, and what is left as it is."""

import os
import re
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.own_files import check_out, is_own, replace_own, seal
from utils.pages import OLDER_PAGES

OLDER = ("<older>",)


def folder_at(path):
    path.mkdir()


def pipe_at(path):
    os.mkfifo(path)


def link_at(path):
    path.symlink_to("elsewhere")


CONTENTS = {
    "mine": False,
    "": True,
    "<our": False,
    " <ours>": False,
    "<ours> without a seal": False,
    "<older> text": True,
    seal("<ours>\ntext\n"): True,
    seal("<ours>\ntext\n").replace("text", "my text"): False,
    seal("<ours>\ntext\n") + "and mine\n": False,
    "mine\n" + seal("<ours>\ntext\n"): False,
    seal(seal("<ours>\ntext\n")): True,
}


@pytest.mark.parametrize(("content", "ours"), CONTENTS.items())
def test_only_what_is_ours_and_unchanged_is_replaced(tmp_path, capsys, content, ours):
    path = tmp_path / "page"
    path.write_text(content)
    assert is_own(path, OLDER) == replace_own(path, "new\n", OLDER) == ours
    assert path.read_text() == (seal("new\n") if ours else content)
    assert ("left as it is" in capsys.readouterr().out) != ours


@pytest.mark.parametrize("make", [folder_at, pipe_at, link_at])
def test_what_is_no_file_is_somebody_elses(tmp_path, make):
    path = tmp_path / "page"
    make(path)
    before = os.lstat(path)
    assert not replace_own(path, "new", OLDER)
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


def test_a_page_of_this_version_that_was_changed_is_no_older_one():
    template = Path(__file__).parents[2] / "utils" / "templates" / "page.html"
    head = re.sub("{#.*?#}\n", "", template.read_text())
    assert head.startswith("<!doctype html>\n")
    assert not head.startswith(OLDER_PAGES)
    older = head.replace('<meta name="generator" content="ELMRec">\n', "")
    assert older.startswith(OLDER_PAGES)
