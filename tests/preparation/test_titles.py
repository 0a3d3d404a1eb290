"""Titles of items: from every kind of file, cleaned; which of several counts; what is refused."""

import csv
import gzip
import json
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from modules.data.reader import load_dataset
from modules.data.titles import items_json, parse_titles
from modules.preparation.rows import open_raw
from modules.preparation.titles import MAX_TITLE, clean_title, open_titles, read_titles
from tests.conftest import script
from tests.fuzz import examples
from utils.errors import UserError

FLAGS = ["--core", "1", "--negative_num", "1", "--explanation", "none"]
TITLES = {f"B{item:02d}": f"Lamp no. {item}, green" for item in range(8)}


@pytest.fixture
def raw(tmp_path):
    """Two users with seven of eight items each."""
    rows = [{"user_id": user, "asin": f"B{item:02d}"} for user, skip in (("u", 0), ("v", 7))
            for item in range(8) if item != skip]  # fmt: skip
    (path := tmp_path / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prepare(raw, *flags):
    """What the script said, and the titles by original id."""
    out = raw.with_name("out")
    done = script("prepare.py", raw, "--out", out, *FLAGS, "--overwrite", *flags)
    if done.returncode:
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        return done.stderr, None
    dataset = load_dataset(out)
    assert done.stdout.count("item titles: 8 items = ") == 1
    stats = json.loads((out / "stats.json").read_text())
    found = {dataset.item_names[i]: title for i, title in enumerate(dataset.titles) if title}
    expected = {"items": 8, "with a title": len(found), "without": 8 - len(found)}
    assert stats["item_titles"] == expected
    return done.stdout, found


def in_table(names, sep):
    def write(path, titles):
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, delimiter=sep)
            table.writerows([names, *((item, 3, title) for item, title in titles)])

    return write


def in_lines(item, title, dump=json.dumps, opened=open):
    def write(path, titles):
        with opened(path, "wt", encoding="utf-8") as file:
            file.writelines(dump({"also": ["B00"], item: a, title: b}) + "\n" for a, b in titles)

    return write


def in_parquet(path, titles):
    parquet.write_table(pa.table(dict(zip(("item_id", "title"), map(list, zip(*titles))))), path)


WAYS = [
    ("meta.json.gz", in_lines("asin", "title", opened=gzip.open)),
    ("meta_2014.json.gz", in_lines("asin", "title", dump=repr, opened=gzip.open)),
    ("meta_2023.jsonl", in_lines("parent_asin", "title")),
    ("shop.item", in_table(["item_id:token", "year:float", "movie_title:token_seq"], "\t")),
    ("other.item", in_table(["item_id:token", "year:float", "name:token_seq"], "\t")),
    ("movies.csv", in_table(["movieId", "year", "title"], ",")),
    ("a.csv", in_table(["ID", "year", "Name"], ";")),
    ("a.tsv", in_table(["asin", "subtitle", "title"], "\t")),
    ("a.txt", in_table(["item", "year", "name"], "\t")),
    ("a.parquet", in_parquet),
]


@pytest.mark.parametrize(("name", "write"), WAYS, ids=[name for name, _ in WAYS])
def test_every_kind_of_file(raw, name, write):
    write(path := raw.with_name(name), [*TITLES.items(), ("other", "Boots"), ("more", "Soap")])
    said, found = prepare(raw, "--items", path)
    assert found == TITLES
    assert f"{path}: 10 rows = 0 bad + 2 of other items + 8 of these" in said


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "inter"])
def test_a_column_of_the_raw_file(raw, ending):
    rows = [json.loads(line) for line in raw.read_text().splitlines()]
    table = [(row["user_id"], row["asin"], TITLES[row["asin"]]) for row in rows]
    names, path = ["user_id", "item_id", "what"], raw.with_name(f"own.{ending}")
    if ending == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row))) + "\n" for row in table))
    elif ending == "parquet":
        parquet.write_table(pa.table(dict(zip(names, map(list, zip(*table))))), path)
    else:
        types = [f"{name}:token" for name in names] if ending == "inter" else names
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter="," if ending == "csv" else "\t").writerows([types, *table])
    said, found = prepare(path, "--item_title", "what")
    assert found == TITLES
    assert "14 rows = 0 bad + 0 of other items + 14 of these" in said


def test_the_last_title_that_is_not_blank_counts_and_those_without_are_said(raw):
    titles = [("B00", "first"), ("B00", "second"), ("B00", " "), ("B00", "<br>"), ("B01", "")]
    in_lines("asin", "title")(path := raw.with_name("meta.json"), [*titles, ("B02", None)])
    said, found = prepare(raw, "--items", path)
    assert found == {"B00": "second"}
    assert "8 items = 1 with a title + 7 without" in said


@pytest.mark.parametrize(
    ("title", "clean"),
    [
        ("Tea &amp; \n <b>lamp</b>\t set", "Tea & lamp set"),
        ("Q&amp;quot;A&amp;quot; <script>x()</script>", 'Q"A"'),
        ("5 < 10\x00\x1b[31m\x9b", "5 < 10 [31m"),
        ("\u2028a\u2029b\u0085c\x0bd", "a b c d"),
        ("x" * 199 + " y", "x" * 199),
        ("é" * 400, "é" * MAX_TITLE),
        (1984, "1984"),
        (7.0, "7"),
        (b"caf\xc3\xa9", "café"),
        ("half \ud83d", "half ?"),
        *((nothing, "") for nothing in (None, True, float("nan"), 0.5, ["a"], {"a": 1}, " \x07 ")),
    ],
)
def test_cleaning(title, clean):
    assert clean_title(title) == clean


def test_only_what_is_asked_for(raw):
    (raw.with_name("out")).mkdir()
    done = script("prepare.py", raw, "--out", raw.with_name("out"), *FLAGS)
    assert done.returncode == 0, done.stderr
    assert not (raw.with_name("out") / "items.json").exists()
    assert json.loads((raw.with_name("out") / "stats.json").read_text())["item_titles"] == {}


def test_a_column_that_is_named_goes_before_a_guess(raw):
    rows = [f"{item},{title!r},Short {item}\n" for item, title in TITLES.items()]
    (path := raw.with_name("a.csv")).write_text('id,title,"brief, or so"\n' + "".join(
        row.replace(", green", "") for row in rows))  # fmt: skip
    assert prepare(raw, "--items", path, "--item_title", "brief, or so")[1] == {
        item: f"Short {item}" for item in TITLES
    }


def test_old_dumps_are_literals_and_never_run(raw, tmp_path):
    line = f"{{'asin': 'B00', 'title': open({str(tmp_path / 'x')!r}, 'w').name}}\n"
    in_lines("asin", "title", dump=repr)(path := raw.with_name("meta.json"), TITLES.items())
    path.write_text(path.read_text() + line)
    said, found = prepare(raw, "--items", path)
    assert found == TITLES
    assert not (tmp_path / "x").exists()
    assert "line 9: not a JSON object" in said
    assert "9 rows = 1 bad + 0 of other items + 8 of these" in said
    assert "line 9: not a JSON object" in prepare(raw, "--items", path, "--strict")[0]


def test_bytes_that_are_no_text_are_bad_lines(raw):
    in_table(["asin", "year", "title"], ",")(path := raw.with_name("a.csv"), TITLES.items())
    path.write_bytes(path.read_bytes() + b"B00,1,caf\xe9\n,2,no id\n")
    said, found = prepare(raw, "--items", path)
    assert found == TITLES
    assert "line 10: the text, 'title', has bytes that are not UTF-8" in said
    assert "line 11: the item, 'asin', is ''; it must be an id" in said
    assert "10 rows = 2 bad + 0 of other items + 8 of these" in said


def test_descriptions_of_many_lines(raw):
    rows = [(item, title, "") for item, title in TITLES.items()]
    rows[3] = (*rows[3][:2], "B00,not a row,3\n" * 30)
    with (path := raw.with_name("a.csv")).open("w", newline="") as file:
        csv.writer(file).writerows([("id", "title", "description"), *rows])
    assert prepare(raw, "--items", path)[1] == TITLES


AWKWARD = (
    *(b"\n", b",", b"\t", b'"', b"\r", b"'", b"{", b"}", b": ", b"\x00", b"\xff\xfe"),
    *(b"B00", b"title", b"asin", b"id", b'{"asin": "B00", "title": "a"}\n', b"id,title\n"),
    *(b"{'asin': u'B00', 'title': 'a'}\n", b"\\ud800", b"[" * 99, b"9" * 5000, b"NaN"),
)
PIECES = st.one_of(st.binary(max_size=9), st.sampled_from(AWKWARD))


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(PIECES, max_size=8), st.sampled_from(["a.json", "a.csv", "a.item", "a.txt"]))
def test_whatever_is_in_the_file(pieces, name):
    """Titles, or an error that names the file."""
    with tempfile.TemporaryDirectory() as base:
        (raw := Path(base) / "raw.csv").write_text("user,asin\nu,B00\n")
        (path := Path(base) / name).write_bytes(b"".join(pieces))
        said, found = "", None
        try:
            file = open_titles(open_raw(raw, None, None, {}), str(path), None)
            found = read_titles(file, ("", "B00", "B01"), strict=False)
        except UserError as error:
            said = str(error)
        if found is None:
            assert str(path) in said
        else:
            assert parse_titles(path, items_json(found.of_item).encode(), 2)[1:] != ("", "")


REFUSED = [
    ("a.csv", "id,title\nx9,Boots\n", "no title of any of the 8 items", "'x9'", "'B0"),
    ("a.csv", "id,title\nB00,\nB01, \n", "no title of any of the 8 items", "2 of these"),
    ("a.csv", "id,title\n", "0 rows = 0 bad"),
    ("a.csv", "id,colour\nB00,red\n", "which column is the title? The file has 'id, colour'"),
    ("a.csv", "nr,title\nB00,red\n", "which column is the item?", "Name it asin, as in"),
    (
        "a.csv",
        "id,my_title,old_title\nB00,a,b\n",
        "several columns may be the title: 'my_title, old_title'",
    ),
    ("a.csv", "id,id,title\nB00,B00,b\n", "the column 'id' is there 2 times"),
    ("a.csv", "title,id,title\nB00,B00,b\n", "the column 'title' is there 2 times"),
    ("a.json", "[1]\n", "--items", "must have one JSON object a line"),
    ("a.csv", "", "it is empty"),
    ("a.doc", "id,title\nB00,red\n", "no format is known for this ending", "read by its ending"),
    ("a.csv", "PAR1 ", "a Parquet file", "read by its ending"),
]


@pytest.mark.parametrize(("name", "text", "message", "more"), [(*row, "")[:4] for row in REFUSED])
def test_what_is_refused_says_what_was_found(raw, name, text, message, more):
    (path := raw.with_name(name)).write_text(text)
    said, _ = prepare(raw, "--items", path)
    assert message in said
    assert more in said
    assert str(path) in said
    assert not raw.with_name("out").exists()


def test_flags_that_do_not_fit(raw):
    assert "raw.jsonl has no such column" in prepare(raw, "--item_title", "what")[0]
    assert "cannot be both the item and its title" in prepare(raw, "--item_title", "asin")[0]
    assert "nowhere.csv: no such file" in prepare(raw, "--items", raw.with_name("nowhere.csv"))[0]
    assert "must be a file" in prepare(raw, "--items", raw.parent)[0]
    in_table(["id", "year", "title"], ",")(path := raw.with_name("a.csv"), TITLES.items())
    said, _ = prepare(raw, "--items", path, "--item_title", "what")
    assert f"--item_title what: {path} has no such column" in said


def test_the_file_of_titles_is_never_replaced(raw):
    out = raw.with_name("out")
    in_lines("asin", "title")(raw.with_name("meta.json"), TITLES.items())
    assert prepare(raw, "--items", raw.with_name("meta.json"))[1] == TITLES
    os.replace(raw.with_name("meta.json"), out / "items.json")
    said, _ = prepare(raw, "--items", out / "items.json")
    assert f"holds {out / 'items.json'}, which is read" in said
    os.remove(out / "items.json")
    in_lines("asin", "title")(raw.with_name("meta.json"), TITLES.items())
    assert prepare(raw, "--items", raw.with_name("meta.json"))[1] == TITLES  # over its own folder
