"""What is read at once is what is read line by line: rows, bad lines, remarks and errors.

HYPOTHESIS_EXAMPLES sets how many files each test makes.
"""

import csv
import io
import json
import random
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.data.dataset import RecDataset
from modules.data.negatives import NegativeSampler
from modules.preparation import clock, features, json_lines, language, tables
from modules.preparation.crew import Crew, batches_of
from modules.preparation.folder import prepare_folder
from modules.preparation.json_lines import plain
from modules.preparation.plain_dates import plain_dates
from modules.preparation.rows import open_raw
from modules.preparation.times import read_moment
from tests.fuzz import examples
from tests.preparation.test_language import ENGLISH, FOREIGN
from tests.preparation.test_prepare import OPTIONS, reviews, write_as
from tests.preparation.test_raw_fuzz import ASKED, CONTENTS, HEADERS, KINDS, NAMES
from tests.preparation.test_rows import read
from utils.errors import UserError

fuzz = settings(
    max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@contextmanager
def slowly():
    """Line by line, date by date, text by text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "plain", lambda lines: None)
        patch.setattr(tables, "plain_rows", lambda *_: None)
        patch.setattr(clock, "plain_dates", lambda values: None)
        patch.setattr(language, "_model", lambda: None)
        yield


def outcome(path: Path, **how):
    """All that a reader says of a file."""
    try:
        rows, bad = read(path, **how)
    except UserError as error:
        return str(error)
    return rows, bad.count, bad.first, bad.remarks


def same_both_ways(name: str, content: bytes, **how):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        fast = outcome(path, **how)
        with slowly():
            assert outcome(path, **how) == fast
        return fast


@fuzz
@given(CONTENTS, st.sampled_from(NAMES), st.sampled_from([None, *KINDS]), HEADERS, ASKED)
def test_any_bytes(content, name, kind, header, asked):
    same_both_ways(name, content, kind=kind, header=header, asked=asked)


IDS = st.sampled_from(
    ["u1", "u2", "1.0", "007", " u", "9" * 30, "é", "a b", "\ud7ff", "", "x\x1fy"]
)
TIMES = st.sampled_from(
    [
        *("2020-01-01", "2020-02-30", "2020-01-01 10:00:00", "2020-01-01T10:00:00Z", "x"),
        *("1577836800", "1577836800000", "1_5", "-1", "", "0001-01-01", "0000-01-01"),
    ]
)
CELLS = st.sampled_from(["a", 'say "hi"', "a,b", "a\nb", "", "tab\there", "\\", "::", "é\x85"])
TABLE = st.lists(st.tuples(IDS, IDS, TIMES, CELLS), max_size=12)
BREAKS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from([b'"', b"\n", b"\r", b"\0", b",", b"\xff", b"\n\n", b" ", b"\r\n", b"\\"]),
    ),
    max_size=2,
)


def broken(content: bytes, breaks) -> bytes:
    for at, piece in breaks:
        content = content[:at] + piece + content[at:]
    return content


@fuzz
@given(
    TABLE,
    st.sampled_from([None, "2020-01-01", "1577836800"]),
    st.sampled_from([",", "\t", ";", "::"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    BREAKS,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_tables(rows, one_time, sep, end, breaks, mark):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter="\1" if len(sep) > 1 else sep, lineterminator=end)
    writer.writerow(["user", "item", "time", "text"])
    writer.writerows((u, i, one_time or t, text) for u, i, t, text in rows)
    content = out.getvalue().replace("\1", sep).encode()
    same_both_ways("a.csv", mark + broken(content, breaks))


VALUES = st.one_of(
    st.sampled_from([None, True, "u", "\ud800", 1.0, 10**30, float("inf"), "a\x00", "é", 7]),
    st.floats(),
    st.integers(),
    st.text(max_size=4),
    st.lists(st.none(), max_size=2),
)
LINES = st.one_of(
    st.dictionaries(st.sampled_from(["user", "item", "text", "x"]), VALUES, max_size=4).map(
        lambda record: json.dumps(record).encode()
    ),
    st.sampled_from(
        [
            *(b"", b" ", b"\x0b", b"[]", b"1", b'{"user": 1, "user": 2}', b'{"us\\u0065r": 1}'),
            *(b'{"item": "a\tb"}', b'{"item": 01}', b'{"x": 1e999}', b'{"x": "\xff"}', b"{} {}"),
            *(
                b"\xef\xbb\xbf{}",
                b'{"x": "\\ud800"}',
                b"{'user': 1}",
                b'{"x": ' + b"9" * 5000 + b"}",
            ),
        ]
    ),
)


@fuzz
@given(st.lists(LINES, max_size=9), st.sampled_from([b"\n", b"\r\n"]), BREAKS)
def test_json_lines(lines, end, breaks):
    first = b'{"user": "u", "item": "i", "text": ""}'
    same_both_ways("a.json", broken(end.join([first, *lines]), breaks))


@fuzz
@given(LINES, st.integers(0, 40), st.sampled_from([b'"', b",", b"\\", b"{", b"\x01", b"0", b"-"]))
def test_what_is_plain_is_json(line, at, piece):
    """No line that json refuses, and the same values."""
    line = line[:at] + piece + line[at:]
    found = plain([line])
    if found is not None:
        assert repr(found[0]) == repr(json.loads(line))


@fuzz
@given(st.lists(st.datetimes().map(lambda t: t.isoformat(" ", "seconds")), min_size=1, max_size=9))
def test_dates_are_read_as_one_by_one(dates):
    wholes, has_zone = plain_dates(dates)
    assert [tuple(read_moment(text)) for text in dates] == [
        (whole, 0, True, has_zone) for whole in wholes.tolist()
    ]


@pytest.mark.parametrize("text", ["2021-02-29", "2020-13-01", "2020-01-01 24:00:00", "2020-00-01"])
def test_days_that_are_none_are_left(text):
    good = "2020-02-29" if len(text) == 10 else "2020-02-29 23:59:59"
    assert plain_dates([good]) is not None
    assert plain_dates([good, text]) is None


def test_languages_are_told_as_one_by_one():
    rng = random.Random(0)
    lines = [*FOREIGN.splitlines(), *ENGLISH.splitlines(), "", " ", "a", "ÄÖÜ ß", "123 456"]
    words = " ".join(lines).split()
    mixed = [" ".join(rng.choices(words, k=rng.randrange(1, 30))) for _ in range(500)]
    texts = [*lines, *mixed, "x" * 1000, "Ünïcode " * 100]
    assert language.are_foreign(texts) == list(map(language.is_foreign, texts))
    assert language.are_foreign([]) == []


@fuzz
@given(st.text(st.sampled_from("ab 'c-_1é.’A!\t"), max_size=30))
def test_words_are_those_of_the_rule(sentence):
    assert features._words(sentence) == features._WORD.findall(sentence.lower())


@fuzz
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_negatives_are_none_that_the_user_had(seed, dense):
    rng = np.random.default_rng(seed)
    n_users, n_items = 9, 30 if dense else 300
    items = np.concatenate([rng.choice(n_items, 5, replace=False) + 1 for _ in range(n_users)])
    names = tuple(map(str, range(n_users + 1))), tuple(map(str, range(n_items + 1)))
    offsets = np.arange(n_users + 1) * 5
    data = RecDataset("x", Path("x"), *names, items, offsets, None, None, {})
    users = rng.permutation(n_users)[:4] + 1
    drawn = NegativeSampler(data, 9).draw(users, rng)
    for user, row in zip(users, drawn.tolist()):
        assert len(set(row)) == 9
        assert not set(row) & set(data.history(user).tolist())


def folder_bytes(raw: Path, out: Path, processes: int, **changes) -> dict[str, bytes]:
    options = replace(OPTIONS, **changes)
    prepare_folder(open_raw(raw, None, None, {}), out, options, {}, None, processes)
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("name", ["raw.json", "raw.csv"])
@pytest.mark.parametrize("mode", ["sentence", "summary", "none"])
def test_folders_have_the_same_bytes(name, mode, tmp_path):
    raw = write_as(tmp_path / name, reviews())
    fast = folder_bytes(raw, tmp_path / "fast", 1, explanation=mode)
    with slowly():
        assert folder_bytes(raw, tmp_path / "slow", 1, explanation=mode) == fast


def test_processes_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("modules.preparation.features._TAGGED", 20)
    monkeypatch.setattr("modules.preparation.explanations.BATCH", 20)
    raw = write_as(tmp_path / "raw.json", reviews())
    one, two = (folder_bytes(raw, tmp_path / str(n), n) for n in (1, 2))
    assert one == two


def test_a_crew_keeps_the_order():
    batches = list(batches_of(range(95), 10))
    with Crew(2) as crew:
        assert list(crew.map(sum, batches, worth=3)) == list(map(sum, batches))
    assert list(Crew().map(sum, iter(batches), worth=3)) == list(map(sum, batches))
