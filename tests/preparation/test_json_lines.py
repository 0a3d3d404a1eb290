"""JSON lines: what is wrong with a file of which no line can be read; keys; long lines."""

import gzip
import json
import os
import tracemalloc

import pytest

from modules.preparation.formats import Asked
from modules.preparation.json_lines import LOOK_AHEAD
from modules.preparation.lines import MAX_LINE
from tests.preparation.test_rows import read, write
from utils.errors import UserError

ROW = '{"user": "u", "item": "i", "time": 1}\n'


@pytest.mark.parametrize("ending", ["json", "jsonl", "jsonlines", "ndjson"])
def test_gzip_is_known_by_its_bytes(tmp_path, ending):
    for name in (f"a.{ending}", f"a.{ending}.gz"):
        for content in (ROW.encode(), gzip.compress(ROW.encode())):
            assert read(write(tmp_path / name, content))[0] == [("u", "i", 1, "")]


NO_LINES = [
    (json.dumps(json.loads(ROW), indent=1), "line 1: not a JSON object .* over several lines"),
    (f"\n\n{json.dumps(json.loads(ROW), indent=1)}", "line 3: not a JSON object .* `jq -c .`"),
    ("[" + ROW.strip() + "]", "line 1: .* is one JSON array: convert it, as with `jq -c '..]'`"),
    (ROW.replace("u", "é").encode("latin-1") * 3, "line 1: byte 3 is not UTF-8. Save the file"),
    ("user,item\nu,i\n", "line 1: not a JSON object"),
    ('"a"\n7\n', "line 1: 'a' is not a JSON object"),
    ("", "is empty"),
    ("\n \n", "is empty"),
    ("{}\n{}\n", "is an object with a key"),
    (ROW.replace("\n", "\r") * 3, "lines end with CR alone, as it seems: convert it"),
    (ROW.strip() * 3 + "\n", "several objects on one line, as it seems: convert it, as with `jq"),
    (ROW.replace("\n", ",\n") * 3, "a comma after the object: take it out"),
]
OTHER_SHAPES = [
    (json.dumps([json.loads(ROW)], indent=1), "is one JSON array"),
    (f"[\n{ROW.strip()},\n{ROW}]\n", "line 1: .* is one JSON array: convert it, as with"),
    ('["u", "i", 1]\n["u", "j", 2]\n', "rows are arrays, without the columns' names: .* --columns"),
    (json.dumps({"data": [json.loads(ROW)] * 2}), "in its key 'data'; .* `jq -c '.data..' a.json"),
    (
        json.dumps({"x y": [json.loads(ROW)] * 2, "n": 2}),
        "in its key 'x y'; .* `jq -c .*x y",
    ),
]


@pytest.mark.parametrize(("content", "message"), OTHER_SHAPES)
def test_another_shape_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "a.json", content))


@pytest.mark.parametrize(("content", "message"), NO_LINES)
def test_a_file_without_a_line_says_why(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as error:
        read(write(tmp_path / "a.json", content))
    assert "cannot be read as json" in str(error.value)
    assert "--columns" not in str(error.value)


def test_an_object_of_users_and_their_items(tmp_path):
    for indent in (None, 1):
        text = json.dumps({"u0": ["i2", "i1"], "u1": ["i3"]}, indent=indent)
        with pytest.raises(UserError, match=r"jq -"):
            read(write(tmp_path / "a.json", text))
    with pytest.raises(UserError, match=r"users and their items.* --format sequences"):
        read(write(tmp_path / "a.json", '{"u0": ["i2"]}\n{"u1": ["i1"]}\n'))


def test_no_column_flag_is_advised_that_json_does_not_have(tmp_path):
    with pytest.raises(UserError, match=r"which column is the user\? .* with --user\.$"):
        read(write(tmp_path / "a.json", '{"who": 1}\n'))


def test_a_key_that_is_there_twice(tmp_path):
    twice = '{"user": "u", "item": "i", "item": "j", "time": 1}\n'
    nested = '{"user": "u", "item": "k", "time": 1, "x": {"item": 3, "text": "\\"item\\""}}\n'
    rows, bad = read(write(tmp_path / "a.json", ROW, twice, nested, ROW))
    assert [row[1] for row in rows] == ["i", "k", "i"]
    assert "line 2: the key 'item' is given twice in one object" in bad.first[0]


KEY_TWICE = [
    '{"item": "i", "user": "u", "item": "j", "time": 1}',
    '{"item" : "i", "user": "u", "item" : "j", "time": 1}',
    '{"item"  :"i","user":"u","item":"j","time":1}',
    '{"item"\t: "i", "user": "u", "item": "j", "time": 1}',
    '{"item": "i", "user": "u", "item": "j", "time" : 1}',  # as many marks as there are keys
]
KEY_ONCE = [
    '{"item" : "i", "user":"u","time"\t:1}',
    '{"item": "i", "user": "u", "time": 1, "said": "he said \\"item\\": \\"user\\": \\"x\\" :)"}',
    '{"item": "i", "user": "u", "time": 1, "more": {"item": 1, "user": {"item": 2}}}',
    '{"item": "i", "user": "u", "time": 1, "like": "item", "as": ["item", "user"]}',
    '{"\\u0069tem": "i", "user": "u", "time": 1}',
]


@pytest.mark.parametrize("line", KEY_TWICE)
def test_however_a_key_that_is_there_twice_is_written(tmp_path, line):
    rows, bad = read(write(tmp_path / "a.json", f"{ROW}{line}\n{ROW}"))
    assert "line 2: the key 'item' is given twice in one object" in bad.first[0]
    assert rows == [("u", "i", 1, "")] * 2


@pytest.mark.parametrize("line", KEY_ONCE)
def test_what_only_looks_like_a_key_that_is_there_twice(tmp_path, line):
    rows, bad = read(write(tmp_path / "a.json", f"{ROW}{line}\n{ROW}"))
    assert rows == [("u", "i", 1, "")] * 3
    assert bad.count == 0


def test_loose_lines_with_odd_escapes_warn_of_nothing(tmp_path, recwarn):
    path = write(tmp_path / "a.json", "{'user': 'u', 'item': '\\d', 'time': 1}\n")
    assert read(path)[0] == [("u", "\\d", 1, "")]
    assert not recwarn.list


def test_a_time_that_comes_late(tmp_path):
    late = '{"user": "u", "item": "i", "timestamp": 5}\n'
    path = write(tmp_path / "a.json", '{"user": "u", "item": "i"}\n' * LOOK_AHEAD, late)
    with pytest.raises(UserError, match=r"line 1001: has 'timestamp', .* --time .* --no_time"):
        read(path)
    assert len(read(path, asked=Asked(no_time=True))[0]) == 1001
    rows, bad = read(path, time="timestamp")
    assert (len(rows), bad.count) == (1, LOOK_AHEAD)
    with pytest.raises(UserError, match=r"--time when: .* no such column"):
        read(path, time="when")


def test_whole_floats_are_ids(tmp_path):
    lines = (
        f'{{"user": {user}, "item": 2.0, "time": 1}}\n' for user in ("1", "1.0", "1.5", "1e300")
    )
    rows, bad = read(write(tmp_path / "a.json", *lines))
    assert [row[:2] for row in rows] == [("1", "2"), ("1", "2")]
    assert "is 1.5; it must be an id: it is a float; ids are strings or whole" in bad.first[0]
    assert bad.count == 2


def test_blanks_around_ids_are_counted(tmp_path):
    lines = (f'{{"user": "{user}", "item": " i", "time": 1}}\n' for user in ("A", "A ", "B"))
    rows, bad = read(write(tmp_path / "a.json", *lines))
    assert [row[0] for row in rows] == ["A", "A", "B"]
    assert bad.remarks == [
        "rows with blanks around the user's id, which are taken off: 1 (the first: line 2)",
        "rows with blanks around the item's id, which are taken off: 3 (the first: line 1)",
    ]


SMALL = {
    "a.json.gz": ROW,
    "a.csv.gz": "user,item,time\nu,i,1\n",
    "a.tsv.gz": "user\titem\ttime\nu\ti\t1\n",
    "s.txt.gz": "u i\nv i j\n",
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("first", [True, False])
def test_a_line_without_an_end_takes_no_memory(tmp_path, name, first):
    """100 MB in 100 kB; a reader of lines would hold it all."""
    good = SMALL[name]
    with gzip.open(tmp_path / name, "wb", compresslevel=1) as file:
        file.write(b"" if first else good.encode())
        for _ in range(100):
            file.write(b"a" * 10**6)
        file.write(b"\n" + good.splitlines()[-1].encode())
    tracemalloc.start()
    try:
        if first:
            with pytest.raises(UserError, match="line 1: longer than 4 MiB"):
                read(tmp_path / name)
        else:
            rows, bad = read(tmp_path / name)
            assert bad.count == 1
            assert f"line {good.count(chr(10)) + 1}: longer than 4 MiB" in bad.first[0]
            assert len(rows) == (5 if name == "s.txt.gz" else 2)
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_LINE
    finally:
        tracemalloc.stop()


def test_what_is_no_file(tmp_path):
    with pytest.raises(UserError, match=r"is a folder; it must be a file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "a.json")
    for kind in (None, "json", "csv", "parquet", "sequences"):
        with pytest.raises(UserError, match="must be a file"):
            read(tmp_path / "a.json", kind=kind)
    with pytest.raises(UserError, match="must be a file"):
        read("/dev/zero", kind="json")
