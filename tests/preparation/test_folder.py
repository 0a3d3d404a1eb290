"""What prepare.py says: where rows, users and items went; what it refuses, and the way on."""

import json
import os
import re
from dataclasses import replace

import pytest

from modules.data.reader import load_dataset
from modules.preparation.folder import prepare_folder
from modules.preparation.rows import open_raw
from tests.conftest import script
from tests.preparation.test_prepare import FLAGS, OPTIONS, reviews, write_as
from utils.errors import UserError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder that JSON lines give, and what was printed."""
    base = tmp_path_factory.mktemp("prepared")
    raw = write_as(base / "raw.json", reviews())
    done = script("prepare.py", raw, "--out", base / "out", *FLAGS, "--explanation", "none")
    assert done.returncode == 0, done.stderr
    return base, done.stdout


def flat(text):
    """Printed text without the time at each line's start."""
    return re.sub(r"^\[[\d:]{8}\] ", "", text, flags=re.MULTILINE)


def test_where_users_and_items_went(tmp_path):
    """Five users with five items, one with two, and one whose only row is rated low."""
    lines = [f"U{u},I{i},{i},5\n" for u in range(5) for i in range(5)]
    lines += ["V,I0,1,5\n", "V,rare,2,5\n", "W,I1,1,1\n", "W,,1,1\n"]
    raw = tmp_path / "a.csv"
    raw.write_text("user,item,time,rating\n" + "".join(lines))
    done = script("prepare.py", raw, "--out", tmp_path / "out", "--core", "5", "--min_rating", "2",
                  "--negative_num", "1")  # fmt: skip
    assert done.returncode == 2  # each has all items
    expected = (
        "users = 1 rated below 2 + 0 repeated pairs + 1 users below 5 or items below 5 + 5 kept"
    )
    assert f"7 {expected}" in flat(done.stdout)
    assert "6 items = 0 rated below 2 + 0 repeated pairs + 1 users" in flat(done.stdout)
    assert "had 5 of them, so no negative is left to draw (users without an item left: 5)" in (
        done.stderr
    )
    assert re.search(r"the data have 5 items, and user 'U\d' had 5", done.stderr)
    options = replace(OPTIONS, strict=False, negative_num=1, min_rating=2.0)
    raw.write_text(raw.read_text() + "".join(f"X,I{i},1,3\n" for i in "01234"[:4]))
    with pytest.raises(UserError, match=r"user 'U\d' had 5"):
        prepare_folder(open_raw(raw, None, None, {}), tmp_path / "out", options, {})
    assert not (tmp_path / "out").exists()


def test_the_cause_comes_first_where_most_rows_are_bad(tmp_path):
    raw = tmp_path / "a.json"
    raw.write_text('{"user": "u", "item": "i"}\n' + '{"user": "u", "item": "i"},\n' * 9)
    options = replace(OPTIONS, strict=False, explanation="none")
    with pytest.raises(UserError, match=r"line 2: .* a comma after .*9 of the 10 rows are bad"):
        prepare_folder(open_raw(raw, None, None, {}), tmp_path / "out", options, {})


def test_the_log_and_stats_name_what_went(prepared):
    base, printed = prepared
    stats = json.loads((base / "out" / "stats.json").read_text())
    for name, at in (("users", 0), ("items", 1)):
        total, *parts = stats[f"raw_{name}"].values()
        assert total == sum(parts) == len({row[at] for row in reviews()})
        assert stats[f"raw_{name}"]["kept"] == stats[name]
        assert f"{total:,} {name} = " in printed


def test_negatives_name_the_raw_user(prepared, tmp_path):
    base, _ = prepared
    done = script(
        "prepare.py", base / "raw.json", "--out", tmp_path / "out", "--negative_num", "99"
    )
    found = re.search(r"user '(\d{4})' had (\d) of them, so between 1 and (\d+) neg", done.stderr)
    assert len({item for user, item, *_ in reviews() if user == found[1]}) == int(found[2])


CORES = [
    ([f"u{u},i{u % 2}{k}" for u in range(6) for k in range(4)], 9, "--core 3 is the highest that"),
    (
        [f"u{u},i{k}" for u in range(6) for k in range(3)],
        5,
        "needs 4 different items, and none has",
    ),
    (["u,i"] * 9, 1, "needs 4 different items, and none has more than 1"),
]


@pytest.mark.parametrize(("rows", "core", "message"), CORES)
def test_a_core_that_leaves_nothing_says_what_would(tmp_path, rows, core, message):
    raw = tmp_path / "a.csv"
    raw.write_text("user,item\n" + "\n".join(rows))
    options = replace(OPTIONS, core=core, negative_num=1)
    with pytest.raises(
        UserError, match=rf"--core {core}: of {len(rows)} interactions none is left"
    ) as error:
        prepare_folder(open_raw(raw, None, None, {}), tmp_path / "out", options, {})
    assert message in str(error.value)


def test_a_file_without_a_good_row_names_the_first_line(tmp_path):
    raw = tmp_path / "a.csv"
    raw.write_text("user,item,time\nu,i,05.11.2011\nu,j,06.11.2011\n")
    done = script("prepare.py", raw, "--out", tmp_path / "out", *FLAGS)
    assert done.returncode == 2
    assert (
        f"{raw}: no row can be used; 2 are bad. The first: {raw}, line 2: the time" in done.stderr
    )
    assert "write 2011-11-05" in done.stderr
    raw.write_text("user,item,time\n")
    done = script("prepare.py", raw, "--out", tmp_path / "out", *FLAGS)
    assert "no row can be used: it has none" in done.stderr


COMMANDS = [
    (["--columns", " user , item,rating, time"], "1::i{}::5::{}\n", 0, "fields separated by '::'"),
    (["--columns", "user,item,item,time", "--sep", "::"], "1::i{}::5::{}\n", 2, "'item' twice"),
    (["--columns", "user,,item"], "", 2, "has an empty name"),
    (["--columns", "user,item,x,time", "--sep", "tab"], "1\ti{}\t5\t{}\n", 0, "separated by tabs"),
    (["--columns", "user,item,x,time", "--sep", "blank"], "1  i{} 5 {}\n", 0, "by blanks"),
    (["--sep", ""], "", 2, "must be tab, blank"),
    (["--escape", "no"], "", 2, "must be one character"),
    (["--format", "pairs"], "1 i{}x{}\n", 0, "is read as pairs"),
    (["--columns", "user,item,seen"], "1,i{},{}00000000\n", 2, "--time seen, or --no_time"),
    (["--columns", "user,item,seen", "--no_time"], "1,i{},{}00000000\n", 0, "no time column"),
]


@pytest.mark.parametrize(("arguments", "row", "code", "message"), COMMANDS)
def test_flags_of_reading(tmp_path, arguments, row, code, message):
    raw = tmp_path / "raw.dat"
    rows = [row.format(k, 15 + k) for k in range(8)]
    raw.write_text("".join(rows[:4]) + "".join(text.replace("1", "2", 1) for text in rows[4:]))
    flags = ("--core", "1", "--negative_num", "1")
    done = script("prepare.py", raw, "--out", tmp_path / "out", *flags, *arguments)
    assert message in done.stdout + done.stderr
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    if code == 0:
        dataset = load_dataset(tmp_path / "out")
        assert (dataset.n_users, dataset.n_items) == (2, 8)


def test_a_pipe_and_a_folder_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path / "pipe", "must be a file"), (tmp_path, "is a folder")):
        done = script("prepare.py", path, "--format", "json", "--out", tmp_path / "out")
        assert done.returncode == 2
        assert message in done.stderr
