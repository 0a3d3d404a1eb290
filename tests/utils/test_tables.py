"""Markdown and CSV: columns, and cells that would break or run."""

import csv
import io

import pytest

from utils.console import columns
from utils.tables import cut, markdown, markdown_text, one_line, to_csv


def test_columns_are_as_wide_as_their_widest_cell():
    assert markdown(["a", "long"], [["xyz1", "b"]]).splitlines() == [
        "| a    | long |",
        "| ---- | ---- |",
        "| xyz1 | b    |",
    ]


def test_columns_are_those_that_a_terminal_shows():
    assert [columns(text) for text in ("", "ab", "日本 茶", "e\u0301", "🍵")] == [0, 2, 7, 1, 2]
    table = markdown(["a", "b"], [["日本 茶", "c"], ["xyz", "d"]]).splitlines()
    assert {columns(line) for line in table} == {17}
    assert table[3] == "| xyz     | d   |"


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("green tea", 9, "green tea"),
        ("green tea", 8, "green..."),
        ("日本 茶", 7, "日本 茶"),
        ("日本 茶", 6, "日..."),
        ("a|||b", 7, "a|..."),  # a mark takes a backslash
        ("a\x1b[31mb", 7, "a..."),
        ("", 0, ""),
    ],
)
def test_texts_that_are_cut(text, room, expected):
    assert cut(text, room, markdown_text) == expected
    assert columns(markdown_text(expected)) <= room


def test_cells_do_not_break_a_markdown_table():
    assert markdown(["a|b"], [["c\nd\r\ne"], ["\\|"]]).splitlines() == [
        r"| a\|b  |",
        "| ----- |",
        "| c d e |",
        r"| \\\|  |",
    ]


def test_a_spreadsheet_runs_no_cell():
    rows = [["=1+1", -1.5], ["+a", "-b"], ["@c", "d=e"], ["\tf", 2]]
    assert to_csv(["-h", "value"], rows) == ("'-h,value\n'=1+1,-1.5\n'+a,'-b\n'@c,d=e\n'\tf,2\n")


def read_back(cell):
    """What a reader of CSV finds: one row of this cell and another."""
    ((found, other),) = list(csv.reader(io.StringIO(to_csv("ab", [[cell, "x"]]), newline="")))[1:]
    assert other == "x"
    return found


def test_cells_that_only_look_like_formulas_or_numbers():
    for cell in (
        "=1",
        "@a",
        "+1+1",
        "-1-1",
        "-a",
        "\t1",
        "\n1",
        "\uff1d1",
        "+",
        "-",
        "--1",
        "-nan",
    ):
        assert read_back(cell) == "'" + cell
    for cell in ("-1", "+1", "-0.5", "+1.5e-3", "1e9", "a=1", "", "'=1", "a\n=1", 'a"b,"'):
        assert read_back(cell) == cell
    assert read_back("a\r=1+1\r\nb") == "a\n=1+1\nb"  # no row of its own
    assert read_back("\r=1+1") == "'\n=1+1"


def test_markdown_shows_texts_of_others_as_they_are():
    cell = "<b>`x`</b>[y](z)\x1b]0;t\x07\x9b1m\u2028\u202e!"
    line = markdown(["a"], [[cell]]).splitlines()[-1]
    assert line == r"| \<b>\`x\`\</b>\[y](z)\\x1b]0;t\\x07\\x9b1m \\u202e! |"
    assert one_line("caf\u00e9 \u4f60\u597d \u0645\u200c \U0001f469\u200d\U0001f680") == (
        "caf\u00e9 \u4f60\u597d \u0645\u200c \U0001f469\u200d\U0001f680"
    )
