"""Markdown and CSV: columns, and cells that would break or run."""

from utils.tables import markdown, to_csv


def test_columns_are_as_wide_as_their_widest_cell():
    assert markdown(["a", "long"], [["xyz1", "b"]]).splitlines() == [
        "| a    | long |",
        "| ---- | ---- |",
        "| xyz1 | b    |",
    ]


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
