"""Files of histories, and pairs: the order of the file is the order of time."""

import pytest

from modules.preparation.formats import Asked
from modules.preparation.rows import open_raw
from tests.preparation.test_rows import read, write
from utils.errors import UserError

HISTORIES = {"A1YJ": ["B004", "B003", "B009"], "A2": ["B003", "B1"], "7": ["1", "2", "3", "1"]}


def pairs_of(rows):
    return [row[:2] for row in rows]


EXPECTED = [(user, item) for user, items in HISTORIES.items() for item in items]


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
def test_histories(tmp_path, end):
    lines = [f"{user} {' '.join(items)}{end}" for user, items in HISTORIES.items()]
    path = write(tmp_path / "user_sequence.txt", *lines, "\n")
    rows, bad = read(path)
    assert pairs_of(rows) == EXPECTED
    assert bad.count == 0
    assert open_raw(path, None, None, {}).how.kind == "sequences"
    write(path, *lines, "lonely\n")
    rows, bad = read(path, kind="sequences")
    assert pairs_of(rows) == EXPECTED
    assert bad.first == [f"{path}, line 4: 1 field, must be a user and one item or more"]
    path = write(
        tmp_path / "a.csv", *(line.replace(" ", ",").rstrip(",\r\n") + "\n" for line in lines)
    )
    assert pairs_of(read(path, kind="sequences", asked=Asked(sep=","))[0]) == EXPECTED


@pytest.mark.parametrize(("sep", "flag"), [("\t", "sequences;"), (",", "sequences --sep ,;")])
def test_histories_with_another_separator(tmp_path, sep, flag):
    lines = [sep.join(["u", *map(str, range(k + 3))]) + "\n" for k in range(5)]
    path = write(tmp_path / "a.txt", *lines)
    with pytest.raises(UserError, match=f"lines of different lengths.* give --format {flag}"):
        read(path)
    asked = Asked(sep=None if sep == "\t" else sep)
    assert len(read(path, kind="sequences", asked=asked)[0]) == sum(range(3, 8))


def test_a_colon_after_the_user(tmp_path):
    path = write(tmp_path / "a.txt", "u0: i1 i2\n", "u1: i1\n", "u2 i2\n")
    rows, bad = read(path, kind="sequences")
    assert pairs_of(rows) == [("u2", "i2")]
    assert "line 1: the user is 'u0:', with a colon" in bad.first[0]
    write(path, "u0: i1, i2\n", "u1: i3, i4\n")
    with pytest.raises(UserError, match=r"with a colon; .*`tr :, ' '`, and give --format seq"):
        read(path)
    assert read(path, kind="sequences", asked=Asked(sep=","))[1].count == 2


def test_pairs(tmp_path):
    lines = [f"{user} {item}\n" for user, item in EXPECTED]
    for name, kind in (("inter.txt", None), ("inter.txt.gz", None), ("inter", "pairs")):
        path = write(tmp_path / name, *lines)
        assert open_raw(path, kind, None, {}).how.kind == "pairs"
        assert pairs_of(read(path, kind=kind)[0]) == EXPECTED
    rows, bad = read(write(tmp_path / "a.txt", *lines, "u i j\n"), kind="pairs")
    assert (len(rows), bad.count) == (len(EXPECTED), 1)


def test_a_header_makes_a_table(tmp_path):
    path = write(tmp_path / "a.txt", "user item rating time\nu i 5 3\n")
    assert read(path)[0] == [("u", "i", 3, "")]
    path = write(tmp_path / "a.txt", "u i 5 3\n")
    assert read(path, header=["user", "item", "rating", "time"])[0] == [("u", "i", 3, "")]


@pytest.mark.parametrize("text", ["1 2 3\n2 3 4\n", "a a\nb c d\na e\n", "lonely\n"])
def test_what_may_be_many_things(tmp_path, text):
    with pytest.raises(UserError, match=r"format is not sure. Give --format sequences .* pairs"):
        read(write(tmp_path / "a.txt", text))
    assert read(write(tmp_path / "a.txt", text), kind="sequences")[0] or text == "lonely\n"


def test_flags_that_do_not_fit(tmp_path):
    path = write(tmp_path / "a.txt", "u a b\nv c\n")
    with pytest.raises(UserError, match="--columns: for csv, tsv and inter files only"):
        read(path, kind="sequences", header=["user", "item"])
    with pytest.raises(UserError, match=r"--time when: .* no such column"):
        read(path, time="when")
