"""Whatever a raw file holds: rows and bad lines that add up, or an error that names the file.

HYPOTHESIS_EXAMPLES sets how many files each test makes.
"""

import csv
import io
import json
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.preparation.formats import Asked
from tests.fuzz import examples
from tests.preparation.test_rows import read
from utils.errors import UserError

EXAMPLES = examples(150)
SECONDS = 5  # more than any file of this size may take on a busy machine
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

KINDS = ("json", "csv", "tsv", "inter", "sequences", "pairs")
NAMES = ("a.json", "a.csv", "a.tsv", "a.inter", "a.txt", "a.dat", "a.parquet", "a.json.gz")
PIECES = (
    *('"', '""', ",", ";", "\t", "::", "|", " ", "\n", "\r\n", "\r", "\\", '\\"', ',"', '",'),
    *("user", "item", "time", "user_id:token", "u1", "i1", "7", "1577836800", "1577836800000"),
    *("20200205", "2020020500", "05/02/2020", "u0:", "sep=;\n", "# x\n", "\xe4"),
    *("2020-01-01", "2020-01-01T10:00:00Z", "Nov 5, 2011", "05.11.2011", "1e9", "NaN", "-1"),
    *("{", "}", "[", "]", ":", '{"user": "u", "item": "i", "time": 1}', "{'user': 1}", "null"),
    *("user,item,time\n", "user\titem\ttime\n", "u,i,1\n", "u\ti\t1\n", 'u,i,1,"a\nb"\n'),
    *("\x00", "é", "\ufeff", "\u2028", "\x85", "\x1f\x8b", "PAR1", "9" * 30, "\\ud800"),
)
CONTENTS = st.lists(
    st.one_of(
        st.sampled_from(PIECES).map(str.encode),
        st.binary(max_size=8),
        st.tuples(st.sampled_from(PIECES), st.integers(2, 300)).map(
            lambda p: (p[0] * p[1]).encode()
        ),
    ),
    max_size=40,
).map(b"".join)
ASKED = st.builds(
    Asked,
    sep=st.sampled_from([None, None, ",", "\t", ";", "::", "blank"]),
    quoted=st.sampled_from([None, None, "yes", "no", "lines"]),
    escape=st.sampled_from([None, None, "\\"]),
    no_time=st.booleans(),
)
HEADERS = st.sampled_from([None, None, ["user", "item"], ["user", "item", "time", "text"]])


def attempt(name: str, content: bytes, **how):
    """(rows, bad) or None; anything but a UserError that names the file or a flag fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        start, said, found = time.process_time(), None, None
        try:
            found = read(path, **how)
        except UserError as error:
            said = str(error)
        assert said is None or str(path) in said or said.startswith("--")
        assert time.process_time() - start < SECONDS
        return found


@fuzz
@given(CONTENTS, st.sampled_from(NAMES), st.sampled_from([None, *KINDS]), HEADERS, ASKED)
def test_any_bytes(content, name, kind, header, asked):
    found = attempt(name, content, kind=kind, header=header, asked=asked)
    if found is not None and kind not in ("sequences",):
        rows, bad = found
        assert len(rows) + bad.count <= content.count(b"\n") + content.count(b"\r") + 1


CELLS = st.text(
    st.one_of(st.sampled_from('",;|\t \\\n\r:abc123é'), st.characters(codec="utf-8")), max_size=12
)
IDS = st.text(st.sampled_from("abcxyz0123456789-_é"), min_size=1, max_size=5)
# A year, so that no two units and no two kinds come together.
WHEN = st.integers(1_500_000_000, 1_530_000_000)
KNOWN_ROWS = st.lists(st.tuples(IDS, IDS, WHEN, CELLS), min_size=1, max_size=30)
FORMS = {
    "number": str,
    "iso": lambda n: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(n)),
    "twitter": lambda n: time.strftime("%a %b %d %H:%M:%S +0000 %Y", time.gmtime(n)),
    "mail": lambda n: time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(n)),
}
HEADER = ("user", "item", "time", "text")


@fuzz
@given(KNOWN_ROWS, st.sampled_from(sorted(FORMS)), st.sampled_from(",;|\t"), st.booleans())
def test_what_csv_writes_is_read(known, form, sep, all_quoted):
    """Python's own writer: every field as it was, line breaks and marks included."""
    rows = [(user, item, FORMS[form](when), text) for user, item, when, text in known]
    out = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=sep, quoting=quoting).writerows([HEADER, *rows])
    asked = Asked(sep=sep, quoted="lines")
    found, bad = attempt("a.csv", out.getvalue().encode(), asked=asked)
    assert found == [(user, item, when, text) for user, item, when, text in known]
    assert bad.count == 0


@fuzz
@given(KNOWN_ROWS, st.sampled_from(["\t", "::", ";"]))
def test_every_line_of_an_unquoted_table_is_a_row(known, sep):
    rows = [(u, i, w, t.translate(str.maketrans("\n\r\t;:", "     "))) for u, i, w, t in known]
    lines = [sep.join(map(str, row)) for row in (HEADER, *rows)]
    found, bad = attempt("a.tsv", "\n".join(lines).encode(), asked=Asked(sep=sep))
    assert (found, bad.count) == (rows, 0)


@fuzz
@given(KNOWN_ROWS, st.lists(st.tuples(st.integers(0, 29), st.integers(0, 12)), max_size=4))
def test_stray_marks_lose_no_row(known, marks):
    """Marks put anywhere into the texts of a CSV of known rows, which hold commas: each row is
    read, or its line is bad, or the file is refused."""
    rows = [[u, i, w, "".join(c for c in t if c.isalnum() or c in ", ")] for u, i, w, t in known]
    for row, at in marks:
        if row < len(rows):
            text = rows[row][3]
            rows[row][3] = text[:at] + '"' + text[at:]
    lines = [",".join(map(str, row)) for row in (HEADER, *rows)]
    found = attempt("a.csv", "\n".join(lines).encode())
    if found is not None:
        read_rows, bad = found
        assert len(read_rows) + bad.count == len(known)
        # What is left of the row tells that it is that row, not one that swallowed others.
        assert {row[:3] for row in read_rows} <= {tuple(row[:3]) for row in rows}


VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    st.lists(st.integers()),
)
GOOD = st.fixed_dictionaries({"user": IDS, "item": st.integers(0, 99), "time": WHEN, "text": CELLS})
# Without a time, so that no unit changes.
OTHER = st.dictionaries(st.sampled_from(["user", "item", "text", "x"]), VALUES, max_size=4)
NO_RECORD = st.binary(max_size=12).map(lambda line: line.translate(None, b"\n\0"))


@fuzz
@given(st.lists(st.one_of(GOOD, OTHER, NO_RECORD), max_size=30))
def test_json_lines_add_up(records):
    """Every good record is a row; every other line that is not blank is a bad line."""
    records = [{"user": "u", "item": 1, "time": 1_510_000_000, "text": ""}, *records]
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    rows, bad = attempt("a.json", b"\n".join(lines))
    good = [record for record in records if isinstance(record, dict) and "time" in record]
    assert [row[:3] for row in rows] == [(r["user"], str(r["item"]), r["time"]) for r in good]
    assert len(rows) + bad.count == sum(1 for line in lines if line and not line.isspace())


@fuzz
@given(st.dictionaries(IDS, st.lists(IDS, min_size=1, max_size=9), min_size=1, max_size=9))
def test_histories_are_read_as_they_stand(histories):
    content = "".join(f"{user} {' '.join(items)}\n" for user, items in histories.items())
    rows, bad = attempt("a.txt", content.encode(), kind="sequences")
    assert [row[:2] for row in rows] == [(u, i) for u, items in histories.items() for i in items]
    assert bad.count == 0


MARKS = ['"\n', ',"\n', ',""\n', ',"""\n', '"a""', 'u,"i,1\n', 'u,i,"1\n', '\\"']


@pytest.mark.parametrize("piece", MARKS)
def test_marks_take_no_longer_in_a_larger_file(piece):
    """A hundred kilobytes of marks: what is read twice is bounded."""
    content = b"user,item,time\n" + piece.encode() * (100_000 // len(piece))
    for asked in (None, Asked(escape="\\")):
        attempt("a.csv", content, asked=asked)
