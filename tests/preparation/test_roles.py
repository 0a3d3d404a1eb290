"""Which column is what: guesses that may be wrong are errors that name a flag."""

import json
from datetime import datetime

import pyarrow as pa
import pytest
from pyarrow import parquet

from modules.preparation.formats import Asked
from modules.preparation.rows import open_raw
from tests.preparation.test_rows import read, write
from utils.errors import UserError

TIMES = [
    ("event_time", "5"),
    ("checkin_time", "1577836800"),
    ("checkinTime", "77"),
    ("date_added", "Fri Aug 25 13:55:02 -0700 2017"),
    ("created_at", "2017-01-01"),
    ("added", "2017-01-01 10:00:00"),
    ("reviewTime", "09 1, 2014"),
    ("posted", "November 5, 2011"),
    ("foo", "1577836800"),
    ("foo", "1577836800000"),
    ("foo", "1577836800.25"),
    ("day", "20200205"),
    ("foo", "20200205"),
    ("stamp", "20200205000700"),
    ("foo", "202002050007"),
    ("year", "2014"),
    ("days", "18262.0049"),
    ("hours", "438288.1"),
]
UNREADABLE = [
    *(("foo", "05.02.2020"), ("visited", "05/02/2020"), ("foo", "05-02-2020 00:07")),
    *(("review_date", "02/05/2020 12:07:00 AM"), ("bought", "05-Feb-20"), ("bought", "02/05/20")),
    *(("日期", "2020年02月05日"), ("month", "2020-02"), ("foo", "02/2020"), ("Datum", "5.2.2020")),
    *(("foo", "February 05th, 2020"), ("foo", "Wed, 05 Feb 20"), ("foo", "5. Februar 2020")),
    *(("foo", "5 de febrero de 2020"), ("foo", "Wed 05/02/2020"), ("foo", "/Date(1577836800000)/")),
    *(("clock", "12:07 AM"), ("foo", "Feb 2020"), ("foo", "2020-02-30")),
]
NO_TIMES = [
    *(
        ("hours", "7.5"),
        ("playtime_forever", "90"),
        ("review_id", "1577836800"),
        ("release_year", "2014"),
    ),
    *(("event_time", ""), ("event_time", "morning"), ("isbn", "0316769487"), ("note", "may 5")),
    *(("release_year", "2014"), ("duration", "3:45")),
    *(("ip", "10.0.0.1"), ("version", "1.2.3"), ("phone", "555-12-1234")),
    *(("price", "12.50"), ("order_id", "20200205"), ("count", "20"), ("days", "12"), ("n", "2020")),
    *(("size", "10-12"), ("size", "10/12"), ("foo", "20201399"), ("foo", "Apollo 13"), ("foo", "")),
]
NO_TIME = Asked(no_time=True)


def table(tmp_path, name, value, ending):
    if ending == "json":
        rows = [{"user": "u", "item": f"i{k}", name: value} for k in range(3)]
        return write(tmp_path / "a.json", "\n".join(map(json.dumps, rows)))
    lines = [f'u,i{k},"{value}"\n' for k in range(3)]
    return write(tmp_path / "a.csv", f"user,item,{name}\n", *lines)


@pytest.mark.parametrize("ending", ["csv", "json"])
@pytest.mark.parametrize(("name", "value"), TIMES)
def test_a_column_of_times_must_be_named(tmp_path, name, value, ending):
    path = table(tmp_path, name, value, ending)
    with pytest.raises(UserError, match=rf"'{name}' seems to hold times .* --time {name}, or --no"):
        read(path)
    assert all(row[2] for row in read(path, time=name)[0])
    assert [row[2] for row in read(path, asked=NO_TIME)[0]] == [0, 0, 0]


@pytest.mark.parametrize("ending", ["csv", "json"])
@pytest.mark.parametrize(("name", "value"), UNREADABLE)
def test_dates_that_cannot_be_read(tmp_path, name, value, ending):
    path = table(tmp_path, name, value, ending)
    with pytest.raises(UserError, match=rf"'{name}' seems to hold times .* a time must be a num"):
        read(path)
    assert len(read(path, asked=NO_TIME)[0]) == 3


def test_a_name_with_a_blank_can_be_pasted(tmp_path):
    with pytest.raises(UserError, match="Give --time 'Purchase Date', or"):
        read(table(tmp_path, "Purchase Date", "2020-01-01", "csv"))


@pytest.mark.parametrize("ending", ["csv", "json"])
@pytest.mark.parametrize(("name", "value"), NO_TIMES)
def test_other_columns_are_none(tmp_path, name, value, ending):
    assert len(read(table(tmp_path, name, value, ending))[0]) == 3


def test_a_parquet_column_of_dates(tmp_path):
    moments = pa.array([datetime(2014, 5, 1), datetime(2014, 5, 2)])
    for kind in (pa.timestamp("ns"), pa.timestamp("ms", "UTC"), pa.date32(), pa.date64()):
        columns = {"user": ["a", "b"], "item": ["c", "d"], "seen": moments.cast(kind, safe=False)}
        parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
        with pytest.raises(UserError, match=r"'seen' seems to hold times \('2014-05-01"):
            read(tmp_path / "a.parquet")
        first, second = (row[2] for row in read(tmp_path / "a.parquet", time="seen")[0])
        assert second > first


def test_parquet_nanoseconds_are_exact(tmp_path):
    times = pa.array([3, 1, 2], pa.int64()).cast(pa.timestamp("ns"))
    parquet.write_table(pa.table({"user": ["u"] * 3, "item": ["a", "b", "c"], "time": times}),
                        tmp_path / "a.parquet")  # fmt: skip
    assert [row[2] for row in read(tmp_path / "a.parquet")[0]] == [3, 1, 2]


def test_parquet_ids_that_are_floats(tmp_path):
    columns = {"user": [1.0, 2.0, None, 2.5], "item": pa.array([1, 2, 3, 4], pa.decimal128(9, 0))}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows, bad = read(tmp_path / "a.parquet")
    assert [row[:2] for row in rows] == [("1", "1"), ("2", "2")]
    assert "row 4: the user, 'user', is 2.5; it must be an id: it is a float" in bad.first[1]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.inter", "a.parquet"])
def test_a_column_that_is_there_twice(tmp_path, name):
    path = tmp_path / name
    if name == "a.parquet":
        cells = [pa.array(["x"])] * 4
        parquet.write_table(pa.Table.from_arrays(cells, ["user", "item", "time", "time"]), path)
    else:
        sep = "," if name == "a.csv" else "\t"
        times = ("time:float", "time:token") if name == "a.inter" else ("time", "time")
        names = ("user", "item", *times)
        write(path, sep.join(names), "\n", sep.join("ui12"), "\n")
    with pytest.raises(UserError, match=r"the column 'time' is there 2 times\. Rename or remove"):
        read(path)


def test_an_exact_name_wins(tmp_path):
    path = write(tmp_path / "a.csv", "USER,user,Timestamp,time,Item\n", "a,b,9,3,d\n")
    assert read(path)[0] == [("b", "d", 3, "")]
    assert read(path, user="USER", time="Timestamp")[0] == [("a", "d", 9, "")]
    with pytest.raises(UserError, match=r"'USER' and 'User' may both be the user. Name one with"):
        read(write(path, "USER,User,item\n", "a,b,c\n"))


def test_flags_against_each_other(tmp_path):
    path = write(tmp_path / "a.csv", "user,item,time\n", "a,b,3\n")
    with pytest.raises(UserError, match=r"--time time and --no_time"):
        open_raw(path, None, None, {"time": "time"}, NO_TIME)
    with pytest.raises(UserError, match="'user' cannot be both user and item"):
        open_raw(path, None, None, {"item": "user"})
