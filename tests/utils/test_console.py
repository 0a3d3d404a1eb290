"""No text of others steers the terminal; and what is written beside results may fail alone."""

import json
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz import examples
from utils import cli
from utils.console import by_product, printable, printable_json, say
from utils.errors import UserError
from utils.tables import markdown, one_line

EXAMPLES = examples(200)
HOSTILE = {
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "a\nb\rc\td": r"a\nb\rc\td",
    "\x7f\x00": r"\x7f\x00",
    "\u202eevil\u2066x\u2069": r"\u202eevil\u2066x\u2069",
    "\u200e\u061c\ufeff\u2028\u2029": r"\u200e\u061c\ufeff\u2028\u2029",
    "\U000e0041": r"\U000e0041",  # an invisible letter
}
PLAIN = ["B00-4X", "Crème brûlée | 5\\6", "日本 茶", "می‌خواهم", "👩‍🍳 🍵", "a\u00a0b", ""]


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_hidden_characters_are_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_stays_as_it_is(text):
    assert printable(text) == text
    assert printable_json(json.dumps(text, ensure_ascii=False)) == f'"{text}"'.replace("\\", "\\\\")


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text())
@example("".join(HOSTILE))
def test_whatever_is_printed_is_one_harmless_line(text):
    for shown in (printable(text), one_line(text), printable_json(json.dumps([text]))):
        assert not {unicodedata.category(c) for c in shown if c not in "\u200c\u200d"} & {
            *("Cc", "Cf", "Cs", "Zl", "Zp")
        }
    assert len(markdown(["a"], [[text]]).split("\n")) == 3


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.dictionaries(st.text(), st.text()))
def test_json_says_the_same(table):
    text = json.dumps(table, ensure_ascii=False)
    assert json.loads(printable_json(text)) == table


@pytest.mark.parametrize("text", HOSTILE)
def test_errors_and_remarks(text, capsys, monkeypatch):
    def fail():
        raise UserError(f"{text}: no such user.")

    with pytest.raises(SystemExit) as end:
        cli.run(fail)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {HOSTILE[text]}: no such user.\n"
    say(text)
    assert capsys.readouterr().out[11:] == f"{HOSTILE[text]}\n"
    monkeypatch.setattr(sys, "argv", ["x.py", text])
    with pytest.raises(SystemExit):
        cli.new_parser("x").parse_args()
    assert capsys.readouterr().err.endswith(f"unrecognized arguments: {HOSTILE[text]}\n")


def test_a_by_product_that_fails_is_said(capsys):
    with by_product("report.html"):
        raise UserError("train_log.jsonl: broken.")
    said = capsys.readouterr().out
    assert "warning: report.html was not written, the results were. train_log.jsonl: bro" in said
    with pytest.raises(ValueError, match="a bug"), by_product("report.html"):
        raise ValueError("a bug")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (["--user", "-x"], "-x"),
        (["--user", "--other"], None),
        (["--user=-x"], "-x"),
        (["--user", "--"], None),
        (["--user=--"], None),
        (["--user", "-"], "-"),
        (["--user", ""], ""),
        (["--user"], None),
        (["--other", "--user", "--no-flag", "y"], "--no-flag"),
        (["--user", "-1"], "-1"),
    ],
)
def test_values_that_begin_with_a_dash(line, value, monkeypatch, capsys):
    parser = cli.new_parser("x")
    parser.add_argument("--user")
    parser.add_argument("--other", action="store_true")
    parser.add_argument("rest", nargs="*")
    monkeypatch.setattr(sys, "argv", ["x.py", *line])
    if value is None:
        with pytest.raises(SystemExit):
            parser.parse_args(cli.take_any_value(parser, ("--user",)))
        assert "argument --user: expected one argument" in capsys.readouterr().err
    else:
        assert parser.parse_args(cli.take_any_value(parser, ("--user",))).user == value
