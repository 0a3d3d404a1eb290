"""JSON read strictly, and by its type."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import pytest

from utils import json_files
from utils.errors import UserError
from utils.json_files import check_type, read_json, read_jsonl, write_json, write_jsonl


@dataclass
class Row:
    """A line of a file."""

    user: Annotated[int, msgspec.Meta(ge=1)]
    task: Literal["direct", "sequential"]
    rank: int | None = None


def test_what_is_written_is_read_as_its_type(tmp_path) -> None:
    write_json(tmp_path / "a", {"user": 3, "task": "direct", "more": [1]})
    assert read_json(tmp_path / "a", Row) == Row(3, "direct")
    write_jsonl(tmp_path / "b", [{"user": 3, "task": "direct", "rank": 0}] * 2)
    assert read_jsonl(tmp_path / "b", Row) == [Row(3, "direct", 0)] * 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"user": "3", "task": "direct"}, "user is '3': expected int, got str"),
        ({"user": True, "task": "direct"}, "user is True: expected int, got bool"),
        ({"user": 0, "task": "direct"}, "user is 0: expected int >= 1"),
        ({"user": 3, "task": "other"}, "task is 'other': invalid enum value 'other'"),
        ({"user": 3}, "object missing required field task"),
        ([3], "expected object, got array"),
        (5, "expected object, got int"),
    ],
)
def test_another_type_is_an_error_that_names_file_and_entry(value, message) -> None:
    with pytest.raises(UserError, match=f"rows, line 7: {message}"):
        check_type("rows", value, Row, 7)


def test_files_and_lines_beyond_their_limits_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(json_files, "MAX_FILE", 100)
    monkeypatch.setattr(json_files, "MAX_LINE", 100)
    (tmp_path / "a").write_text(f'{{"user": 3, "task": "direct", "more": "{"x" * 100}"}}\n')
    with pytest.raises(UserError, match="a: larger than 100 bytes"):
        read_json(tmp_path / "a", Row)
    with pytest.raises(UserError, match="a, line 1: longer than 100 bytes"):
        read_jsonl(tmp_path / "a", Row)


def test_what_is_shown_of_a_wrong_value_is_short_and_plain():
    deep = []
    for _ in range(900):
        deep = [deep]
    for value in (deep, "x" * 10**6, {"\x1b[31m" * 9: "\n" * 99}, [10**4000] * 9):
        with pytest.raises(UserError) as refusal:
            check_type("file", {"rows": [{"user": value}]}, dict[str, list[dict[str, bool]]])
        with pytest.raises(UserError) as named:
            check_type("file", value, Literal["\x07"])
        for error in (refusal, named):
            message = str(error.value)
            assert message.isprintable()
            assert len(message) < 400


@pytest.mark.parametrize("rest", [b'{"user": 3, "ta', b"\0" * 9, b"\0" * 9 + b"\n", b"{\xe2\x82"])
def test_a_file_that_grows_may_end_in_half_a_line(rest, tmp_path, capsys) -> None:
    path = tmp_path / "log"
    line = b'{"user": 3, "task": "direct"}\n'
    path.write_bytes(line * 2 + rest)
    assert read_jsonl(path, Row, growing=True) == [Row(3, "direct")] * 2
    said = capsys.readouterr().out
    assert f"warning: {path}" in said
    assert "This last line is left out." in said
    with pytest.raises(UserError):
        read_jsonl(path, Row)
    path.write_bytes(line + rest + b"\n" + line)
    with pytest.raises(UserError):
        read_jsonl(path, Row, growing=True)
