"""Times: every form, exact order, one unit a column; against the standard library."""

from datetime import datetime, timezone
from email.utils import format_datetime, parsedate_to_datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.preparation.clock import Clock, ranks
from modules.preparation.columns import BadLines
from modules.preparation.filters import gather
from modules.preparation.rows import open_raw, read_rows
from modules.preparation.times import PARTS, read_moment
from tests.preparation.test_rows import read, write
from utils.errors import UserError


def seconds(value) -> Fraction | None:
    moment = read_moment(value)
    return None if moment is None else moment.whole + Fraction(moment.part, 10**PARTS)


def utc(*fields) -> Fraction:
    return Fraction(int(datetime(*fields, tzinfo=timezone.utc).timestamp()))


NOON = utc(2020, 1, 1, 12)
DATES = [
    ("2020-01-01T12:00:00", NOON),
    ("2020-01-01 12:00:00", NOON),
    ("2020-01-01T12:00:00Z", NOON),
    ("2020-01-01T12:00:00z", NOON),
    ("2020-01-01 12:00:00 UTC", NOON),
    ("2020-01-01 12:00:00 +0000 UTC", NOON),
    ("2020-01-01T12:00", NOON),
    ("2020-01-01T12", NOON),
    ("2020-01-01T14:00:00+02:00", NOON),
    ("2020-01-01T14:00:00+0200", NOON),
    ("2020-01-01T14+02", NOON),
    ("2020-01-01T06:30:00-05:30", NOON),
    ("2020-01-01T12:00:30+00:00:30", NOON),
    ("20200101T120000", NOON),
    ("20200101T120000Z", NOON),
    ("20200101T1200", NOON),
    ("20200101 120000.5", NOON + Fraction(1, 2)),
    ("2020-W01-3T12:00:00", NOON),
    ("2020W013T12", NOON),
    ("2020-01-01T12:00:00.1", NOON + Fraction(1, 10)),
    ("2020-01-01T12:00:00,123", NOON + Fraction(123, 1000)),
    ("2020-01-01T12:00:00.123456789Z", NOON + Fraction(123456789, 10**9)),
    ("2020/01/01 12:00", NOON),
    ("2020/1/1 12:00", NOON),
    ("2020.01.01 12:00", NOON),
    ("2020-01-01 12:00 PM", NOON),
    ("2020-01-01", NOON - 43200),
    ("2019-12-31T24:00:00", NOON - 43200),
    ("2019-12-31 24:00", NOON - 43200),
    ("2011/11/05 10:00", utc(2011, 11, 5, 10)),
    ("Tue Apr 03 18:00:09 +0000 2012", utc(2012, 4, 3, 18, 0, 9)),
    ("Tue Apr 03 11:00:09 -0700 2012", utc(2012, 4, 3, 18, 0, 9)),
    ("Tue Apr  3 18:00:09 2012", utc(2012, 4, 3, 18, 0, 9)),
    ("Tue, 03 Apr 2012 18:00:09 +0000", utc(2012, 4, 3, 18, 0, 9)),
    ("Tue, 3 Apr 2012 18:00:09 GMT", utc(2012, 4, 3, 18, 0, 9)),
    ("3 Apr 2012 20:00:09 +0200 (CEST)", utc(2012, 4, 3, 18, 0, 9)),
    ("09 1, 2014", utc(2014, 9, 1)),
    ("12 31, 2014", utc(2014, 12, 31)),
    ("November 5, 2011", utc(2011, 11, 5)),
    ("Nov 5, 2011", utc(2011, 11, 5)),
    ("Sept. 5, 2011", utc(2011, 9, 5)),
    ("may 5 2011", utc(2011, 5, 5)),
    ("5 November 2011", utc(2011, 11, 5)),
    ("05-Nov-2011", utc(2011, 11, 5)),
    ("Nov 5, 2011 1:30:00 PM", utc(2011, 11, 5, 13, 30)),
    ("Nov 5, 2011 at 12:05 AM", utc(2011, 11, 5, 0, 5)),
    ("1969-12-31T23:59:58", Fraction(-2)),
]
NO_TIMES = [
    *("", "soon", "05.11.2011", "11/05/2011", "2011-02-30", "2011-13-01", "Foo 5, 2011", "Nov 5"),
    *(
        "31 1, 2014",
        "2011-01-01T25:00:00",
        "2011-01-01T24:00:01",
        "2011-01-01T10:61",
        "2020-W60-1",
        "13:00 PM",
    ),
    *("2011-01-01T24:00:01", "nan", "inf", "1e999", "9" * 19, "9" * 5000, "0x10", "1_000", "１２"),
    *(None, True, [], {}, float("nan"), 2**63),
]


@pytest.mark.parametrize(("text", "expected"), DATES)
def test_forms_of_dates(text, expected):
    assert seconds(text) == expected
    assert seconds(f"  {text} ") == expected
    assert seconds(text.encode()) == expected
    assert read_moment(text).is_date


@pytest.mark.parametrize("value", NO_TIMES)
def test_what_is_no_time(value):
    assert read_moment(value) is None


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
    st.sampled_from(["", "Z", "+00:00", "+0530", "-08:00", "+01"]),
    st.sampled_from(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y%m%dT%H%M%S", "%Y-%m-%dT%H:%M"]),
)
def test_as_the_standard_library_reads_iso(moment, zone, form):
    text = moment.replace(year=2000 + moment.year % 1000).strftime(form) + zone
    digits = zone.replace(":", "")
    whole = text[: len(text) - len(zone)] if zone else text
    offset = 0 if len(digits) < 3 else int(digits[1:3]) * 3600 + int(digits[3:5] or 0) * 60
    plain = datetime.strptime(whole, form).replace(tzinfo=timezone.utc).timestamp()
    assert seconds(text) == int(plain) - (-offset if zone.startswith("-") else offset)


@given(st.datetimes(timezones=st.just(timezone.utc), min_value=datetime(1900, 1, 1)))
def test_as_the_standard_library_reads_mail(moment):
    text = format_datetime(moment)
    assert seconds(text) == int(parsedate_to_datetime(text).timestamp())


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.decimals(-(10**12), 10**12, places=9)))
def test_numbers_are_exact(number):
    assert seconds(str(number)) == Fraction(number)
    assert seconds(f" {number}") == Fraction(number)
    if isinstance(number, int):
        assert seconds(number) == number


@given(st.floats(-1e15, 1e15))
def test_floats_keep_their_order(number):
    assert abs(seconds(number) - Fraction(number)) <= Fraction(
        repr(abs(number))
    ) / 10**15 + Fraction(1, 10**PARTS)
    assert float(seconds(number)) == pytest.approx(number, abs=1e-17)


@given(st.text(max_size=80))
def test_no_text_is_a_traceback(text):
    read_moment(text)


NANO = 1577836800000000000


@pytest.mark.parametrize("form", ["{}", '"{}"', "{}.0", "{}.25"])
def test_nanoseconds_keep_their_order(tmp_path, form):
    """The rows stand in the wrong order; as floats their times are equal."""
    lines = [f"u,{k},{form.format(NANO + 100 * k)}\n" for k in (3, 2, 1, 0)]
    raw = open_raw(write(tmp_path / "a.csv", "user,item,time\n", *lines), None, None, {})
    data = gather(read_rows(raw, BadLines(raw.path, True), lambda share: None))
    assert [data.item_names[k] for k in np.argsort(data.times)] == ["0", "1", "2", "3"]


def test_whole_numbers_and_fractions_in_one_column():
    clock = Clock("a.csv", "time", BadLines("a.csv", False))
    texts = ["2", "1.5", "1.50", "-0.5", "-1", "1.500000000000000001", "2e0"]
    times, _ = clock.read(texts, range(7), "line")
    assert ranks(*times).tolist() == [4, 2, 2, 1, 0, 3, 4]


UNITS = [
    (
        ["2020-01-01T00:00:00", "1577923200000", "2020-01-03"],
        "a number; the rows before it have da",
    ),
    (["1577923200000", "2020-01-01T00:00:00"], "a date; the rows before it have numbers"),
    (["1577836800", "1577836801", "1577923200000"], "by its size milliseconds .* have seconds"),
    (["1577923200000", "1577836800"], "by its size seconds .* before it have milliseconds"),
    (["1577923200000000", "1577923200000000000"], "nanoseconds .* have microseconds"),
    (["1577836800.5", "1577923200000.5"], "by its size milliseconds .* have seconds"),
]


@pytest.mark.parametrize("block", [20, 1 << 20])
@pytest.mark.parametrize(("times", "message"), UNITS)
def test_one_unit_a_column(tmp_path, monkeypatch, times, message, block):
    monkeypatch.setattr("modules.preparation.lines.BLOCK", block)
    path = write(
        tmp_path / "a.csv", "user,item,time\n", *(f"u,i{k},{t}\n" for k, t in enumerate(times))
    )
    at = next(k for k in range(1, 9) if len(times[k].split(".")[0]) != len(times[0].split(".")[0]))
    with pytest.raises(UserError, match=rf"line {at + 2}: the time, 'time', is .*{message}"):
        read(path)


SECOND = 1_580_861_220
TWO_SIZES = [
    *((SECOND, "20200205"), (SECOND, "20200205000700"), (SECOND, "2020020500"), (SECOND, 2020)),
    *((SECOND * 1000, "20200205"), (SECOND * 1000, "20200205000700"), (SECOND, 18297.0049)),
    *((SECOND * 1000, "202002050007"), (SECOND, "202002050007"), ("20200205", "20200205000700")),
    *(("2020020500", "20200205"), ("202002050007", "20200205000700"), (SECOND, 43866.0049)),
    *((SECOND, SECOND // 60), (SECOND, SECOND * 10), (SECOND, SECOND * 100)),
    *((SECOND * 10**6, 132253348200000000), (SECOND * 10**9, 132253348200000000)),
]


@pytest.mark.parametrize("block", [40, 1 << 20])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("one", "other"), TWO_SIZES)
def test_two_sizes_of_numbers(tmp_path, monkeypatch, one, other, swapped, block):
    monkeypatch.setattr("modules.preparation.lines.BLOCK", block)
    one, other = (other, one) if swapped else (one, other)
    rows = [f"u,i{k},{time}\n" for k, time in enumerate([one, one, one, other, one, other])]
    path = write(tmp_path / "a.csv", "user,item,time\n", *rows)
    with pytest.raises(UserError, match=rf"line 5: the time, 'time', is .*{other}.*one unit"):
        read(path)


@pytest.mark.parametrize("step", [1, 60, 86_400, 35_000_000])
@pytest.mark.parametrize("unit", [1, 1000, 10**6])
def test_counters_from_0_are_of_one_unit(tmp_path, step, unit):
    """Times since the first row, in any unit that the rest of the file does not contradict."""
    numbers = [k * step * unit for k in range(60)]
    write(tmp_path / "a.csv", "user,item,time\n", *(f"u,i{t},{t}\n" for t in numbers))
    assert len(read(tmp_path / "a.csv")[0]) == len(numbers)


ONE_UNIT = [
    *(["0", "1577836800"], ["20200101", "20200102"], ["1", "99999999"], ["-5", "7"]),
    *(["0", "-1", "999", "1577836800"], ["2020020500", "2024123123"], ["978300760", "1046454590"]),
    *(["0.5", "3"], ["315000000000", "1577923200000"]),
]


@pytest.mark.parametrize("times", ONE_UNIT)
def test_numbers_that_may_be_of_one_unit(tmp_path, times):
    lines = (f"u,i{k},{time}\n" for k, time in enumerate(times))
    rows, bad = read(write(tmp_path / "a.csv", "user,item,time\n", *lines))
    assert (len(rows), bad.count) == (len(times), 0)


def test_times_with_and_without_a_zone(tmp_path):
    lines = ("u,a,2020-01-01T00:00:00Z\n", "u,b,2020-01-01T00:00:00\n", "u,c,2020-01-01T00:00\n")
    rows, bad = read(write(tmp_path / "a.csv", "user,item,time\n", *lines))
    assert len({row[2] for row in rows}) == 1
    (remark,) = bad.remarks
    assert remark.startswith("rows whose time has no zone and is taken as UTC")
    assert remark.endswith(": 2 (the first: line 3)")


def test_a_day_that_may_be_a_month_is_named(tmp_path):
    path = write(tmp_path / "a.csv", "user,item,time\nu,a,05.11.2011\n")
    assert (
        "Which of its numbers is the month is not sure: write 2011-11-05" in read(path)[1].first[0]
    )


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3)), max_size=30))
def test_ranks_are_the_order(pairs):
    wholes, parts = (np.array([pair[k] for pair in pairs], np.int64) for k in (0, 1))
    rank = ranks(wholes, parts).tolist()
    by_part = pairs if parts.any() else [(whole, 0) for whole, _ in pairs]
    for a, x in zip(by_part, rank):
        for b, y in zip(by_part, rank):
            assert (a < b) == (x < y)
