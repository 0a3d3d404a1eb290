"""Reading raw files: every format, columns guessed and named, what is bad and where."""

import gzip
import json
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from modules.preparation.formats import BadLines
from modules.preparation.rows import open_raw, read_rows
from modules.preparation.times import PARTS
from utils.errors import UserError

LOOSE = "{'reviewerID': 'A1', 'asin': 'B1', 'reviewText': \"it's\", 'unixReviewTime': 7, 'x': None}"


def read(
    path, *, text="text", rating=False, strict=False, kind=None, header=None, asked=None, **given
):
    """(rows as tuples, bad lines) of a file."""
    raw = open_raw(path, kind, header, given, asked)
    bad = BadLines(path, strict)
    rows = []
    for chunk in read_rows(raw, bad, lambda share: None, rating, text if raw.roles.text else None):
        texts = chunk.texts or [""] * len(chunk.users)
        times = [w + p / 10**PARTS for w, p in zip(*map(np.ndarray.tolist, chunk.times))]
        rows += zip(chunk.users, chunk.items, times, texts)
    return rows, bad


def write(path, *lines):
    path.write_bytes(b"".join(x if isinstance(x, bytes) else x.encode() for x in lines))
    return path


def test_amazon_2014_and_loose_lines(tmp_path):
    good = {"reviewerID": "A2", "asin": "B2", "reviewText": "é\nb", "unixReviewTime": 9}
    path = write(tmp_path / "a.json", LOOSE, "\n", json.dumps(good), "\n")
    rows, bad = read(path)
    assert rows == [("A1", "B1", 7.0, "it's"), ("A2", "B2", 9.0, "é\nb")]
    assert bad.count == 0


def test_nothing_in_a_loose_line_is_run(tmp_path):
    trap = tmp_path / "trap"
    code = (
        f"{{'reviewerID': open({str(trap)!r}, 'w').write('x'), 'asin': 'B', 'unixReviewTime': 1}}"
    )
    rows, bad = read(write(tmp_path / "a.json", LOOSE, "\n", code, "\n"))
    assert len(rows) == bad.count == 1
    assert not trap.exists()


def test_amazon_2023_takes_the_parent(tmp_path):
    row = {"user_id": "U", "asin": "C1", "parent_asin": "P1", "timestamp": 1588687728923}
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row | {"text": "t", "title": "s"}).encode()))
    assert read(path)[0] == [("U", "P1", 1588687728923.0, "t")]


def test_ids_stay_what_they_are(tmp_path):
    path = write(tmp_path / "a.csv", "user,item,time\n007,NA,1\n 7 ,null,2\n")
    assert [row[:2] for row in read(path)[0]] == [("007", "NA"), ("7", "null")]
    table = pa.table({"user": [7], "item": ["NA"], "time": [1]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[0] == [("7", "NA", 1.0, "")]


def test_times_as_dates(tmp_path):
    expected = datetime(2014, 5, 1, 12, tzinfo=timezone.utc).timestamp()
    path = write(
        tmp_path / "a.csv",
        "user,item,date\na,b,2014-05-01T12:00:00\n",
        "a,b,2014-05-01 14:00:00+02:00\na,b,2014-05-01T12:00:00Z\n",
    )
    assert [row[2] for row in read(path)[0]] == [expected] * 3
    moments = pa.array([datetime(2014, 5, 1, 12), datetime(2014, 5, 1, 13)])
    parquet.write_table(
        pa.table({"user": ["a", "a"], "item": ["b", "c"], "date": moments}), tmp_path / "a.parquet"
    )
    first, second = (row[2] for row in read(tmp_path / "a.parquet")[0])
    assert second - first == 3600 * 10**6


def test_columns_by_name(tmp_path):
    path = write(tmp_path / "a.tsv", "who\twhat\twhen\tbody\nu\ti\t3\tt\n")
    given = {"user": "who", "item": "what", "time": "when"}
    assert read(path, **given)[0] == [("u", "i", 3.0, "")]
    with pytest.raises(UserError, match=r"which column is the user\? The file has 'who, what"):
        read(path)
    with pytest.raises(UserError, match=r"--user whom: .* no such column"):
        read(path, user="whom")


def test_table_without_header(tmp_path):
    path = write(tmp_path / "ratings.csv", "u1,i1,5,30\nu2,i2\nu3,i3,4,20\n")
    rows, bad = read(path, header=["user", "item", "rating", "timestamp"])
    assert rows == [("u1", "i1", 30.0, ""), ("u3", "i3", 20.0, "")]
    assert bad.first == [f"{path}, line 2: 2 field(s), must be 4"]
    write(path, "user,item,time\nu,i,1\nu,j\n")
    assert read(path)[1].first == [f"{path}, line 3: 2 field(s), must be 3"]


def test_blank_lines_and_marks_of_a_table(tmp_path):
    """Blank lines are no rows; a row of another width may hold broken UTF-8."""
    path = write(
        tmp_path / "a.csv",
        b'\xef\xbb\xbf"the, user",item,text\r\n',
        b'u,i,"a ""b"", c"\r\n\r\n',
        b"\xff\r\n",
        b"v,j,x\ry\r\n",
        b"\r\nw,k,",
    )
    rows, bad = read(path, user="the, user")
    assert rows == [("u", "i", 0.0, 'a "b", c'), ("v", "j", 0.0, "x"), ("w", "k", 0.0, "")]
    assert [message.split(", line ")[1] for message in bad.first] == [
        "4: 1 field(s), must be 3",
        "6: 1 field(s), must be 3",
    ]


def test_recbole(tmp_path):
    path = write(tmp_path / "a.inter", "user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3.5\n")
    assert read(path)[0] == [("1", "2", 3.5, "")]
    assert read(path, user="item_id", item="user_id:token")[0] == [("2", "1", 3.5, "")]


def test_bad_json_lines_are_counted_with_their_numbers(tmp_path):
    ok = '{"user": "a", "item": "b", "time": 1, "text": "t"}\n'
    path = write(
        tmp_path / "a.jsonl",
        ok,
        "{broken\n",
        "\n",
        "[1]\n",
        '{"user": "a", "item": "b"}\n',
        '{"user": "", "item": "b", "time": 1}\n',
        '{"user": true, "item": "b", "time": 1}\n',
        '{"user": "a", "item": "b", "time": "soon"}\n',
        b'{"user": "\xff", "item": "b", "time": 1}\n',
        '{"user": "\\ud800", "item": "b", "time": 1}\n',
        "[" * 100_000 + "\n",
        ok,
    )
    rows, bad = read(path)
    assert len(rows) == 2
    assert bad.count == 9
    assert len(bad.first) == BadLines.SHOWN
    for number, message in zip((2, 4, 5, 6, 7), bad.first):
        assert f"line {number}: " in message
    with pytest.raises(
        UserError, match=r"a\.jsonl, line 2: not a JSON object .* leave out --strict"
    ):
        read(path, strict=True)


def test_bad_rows_of_a_table_keep_their_numbers(tmp_path, monkeypatch):
    lines = ["user,item,time,text\n"]
    at, expected = 2, []
    for number in range(2, 400):
        kinds = {0: "u,i\n", 1: "u,i,soon,t\n", 2: ",i,1,t\n"}
        lines.append(kinds.get(number % 7, f'u,i,{number},"two\nlines"\n'))
        expected += [at] if number % 7 in kinds else []
        at += lines[-1].count("\n")
    path = write(tmp_path / "a.csv", *lines)
    monkeypatch.setattr("modules.preparation.lines.BLOCK", 50)  # many chunks
    monkeypatch.setattr(BadLines, "SHOWN", 1000)
    rows, bad = read(path)
    assert [row[2] for row in rows] == [n for n in range(2, 400) if n % 7 > 2]
    assert [int(m.split("line ")[1].split(":")[0]) for m in bad.first] == expected


def test_text_never_makes_a_row_bad(tmp_path):
    """The passes must agree on which row is the k-th."""
    path = write(tmp_path / "a.csv", "user,item,time,text\n", b"u,i,1,\xff\n", "u,j,2,\n")
    assert read(path)[0] == [("u", "i", 1.0, "\ufffd"), ("u", "j", 2.0, "")]
    path = write(tmp_path / "a.jsonl", '{"user":"u","item":"i","time":1,"text":["x"]}\n')
    assert read(path)[0] == [("u", "i", 1.0, "")]


def test_rating_is_needed_only_where_it_is_asked_for(tmp_path):
    path = write(tmp_path / "a.csv", "user,item,time,rating\nu,i,1,\nu,j,2,5\n")
    assert len(read(path)[0]) == 2
    rows, bad = read(path, rating=True)
    assert (len(rows), bad.count) == (1, 1)
    assert "the rating, 'rating', is ''; it must be a number" in bad.first[0]


BROKEN = [
    ("a.xyz", b"x", "no format is known for this ending"),
    ("a.csv", b"", "cannot be read as csv"),
    ("a.json", b'[{"user": 1}]', "is one JSON array"),
    ("a.parquet", b"PAR1 no", "cannot be read as parquet"),
    ("a.json.gz", b"plain", "cannot be read as json"),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_broken_files_are_named(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / name, content))
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "nowhere.csv")


def test_a_file_cut_short_is_an_error(tmp_path):
    lines = "".join(
        json.dumps({"user": f"{n}", "item": "i", "time": n}) + "\n" for n in range(50_000)
    )
    path = write(tmp_path / "a.json.gz", gzip.compress(lines.encode())[:-3000])
    with pytest.raises(UserError, match=r"reading failed after 4\d,\d{3} rows .* cut short"):
        read(path)
