"""Lines of ids, read at once: as line by line, or not at all."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.data import id_rows
from tests.data.test_reader_fuzz import EDITS, edited

PLAIN = b"2 3 1 4\n1 5 5\n4\n3 1 2 3 4 5\n"
ODD = st.sampled_from([b"  ", b" ", b"\n", b"\t", b"0", b"000000000", b"007", b"6", b"5 ", b" 1\n"])


def same(content: bytes) -> bool:
    """Was the content read at once? Then as line by line."""
    content = content.rstrip()
    found = id_rows._plain(content, 4, 5)
    if found is None:
        return False
    expected = id_rows._line_by_line(Path("x"), content, 4, 5)
    for one, other in zip(found, expected):
        assert one.tolist() == other.tolist()
        assert one.dtype == other.dtype
    return True


@pytest.mark.parametrize("block", [1, 5, 1 << 20])
def test_a_plain_file_is_read_at_once(monkeypatch, block) -> None:
    monkeypatch.setattr(id_rows, "_BLOCK", block)
    assert same(PLAIN)
    assert same(PLAIN + b"\n \n")  # at the end
    rows = id_rows.read_rows(Path("x"), PLAIN, 4, 5)
    assert rows.users.tolist() == [2, 1, 4, 3]
    assert rows.ends.tolist() == [3, 5, 5, 10]


@settings(max_examples=400, deadline=None)
@given(edits=EDITS, odd=st.lists(st.tuples(st.integers(0, len(PLAIN)), ODD), max_size=3))
def test_whatever_is_read_at_once_is_right(edits, odd) -> None:
    same(edited(PLAIN, edits))
    content = PLAIN
    for at, what in odd:
        content = content[:at] + what + content[at:]
    same(content)


@pytest.mark.parametrize(
    "line", [b"1 5 6\n", b"1 5 0\n", b"2 5 5\n", b"5 5 5\n", b"0 5 5\n", b"1 5" + b"0" * 30 + b"\n"]
)
def test_wrong_ids_are_left_to_the_lines(line) -> None:
    assert not same(PLAIN.replace(b"1 5 5\n", line))
    assert not same(PLAIN.replace(b"1 5 5\n", line.replace(b" 5", b"  5")))


def test_numbers_above_int32_are_no_ids() -> None:
    content = PLAIN.replace(b"1 5 5", b"1 5 %d" % (2**32 + 5))
    assert not same(content)
    assert np.int64(2**32 + 5).astype(np.int32) == 5
