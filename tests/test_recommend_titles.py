"""recommend.py and titles of items: beside the ids, cut to the terminal's line, never obeyed."""

import json
import unicodedata

import pytest

from modules.data.titles import ITEMS_FILE, items_json
from modules.recommend import as_json, as_table, recommend
from tests.conftest import script
from tests.test_recommend import stranger

NAMED = {item: f"Lamp no. {item} in green" for item in range(1, 12)}  # I12 has no title


@pytest.fixture
def titled(run):
    """The run, whose data have titles; with those that are given."""

    def of(titles):
        all_items = tuple(titles.get(item, "") for item in range(run.dataset.n_items + 1))
        object.__setattr__(run.dataset, "titles", all_items)
        return run

    return of


def answer_of(run, history="I3,I12,I1", texts=0):
    return recommend(run, [stranger(run.dataset, history)], 12, texts, 4)[0]


def lines_of(run, answer, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    return as_table(run.dataset, answer).splitlines()


def width(text):
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def test_titles_stand_beside_ids(titled, monkeypatch):
    run = titled(NAMED)
    lines = lines_of(run, answer_of(run), monkeypatch, 100)
    assert lines[1:4] == ["  I3  Lamp no. 3 in green", "  I12", "  I1  Lamp no. 1 in green"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    assert rows[0] == ["", "item", "title", "probability"]
    assert {item: title for _, item, title, _ in rows[2:]} == {
        f"I{item}": NAMED[item] for item in range(2, 12) if item != 3
    }


def test_without_the_file_all_is_as_before(run, monkeypatch):
    answer = answer_of(run)
    assert "title" not in as_json(run.dataset, answer)
    lines = lines_of(run, answer, monkeypatch, 60)
    assert lines[1] == "  I3 I12 I1"
    assert "title" not in "".join(lines)


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("title", ["word " * 40, "\u8336" * 200, "|" * 200, "\x1b[31m\u202e" * 30])
def test_lines_fit_the_terminal(titled, monkeypatch, title, columns):
    run = titled(dict.fromkeys(NAMED, title))
    lines = lines_of(run, answer_of(run), monkeypatch, columns)
    longest = max(width(line) for line in lines[1:])
    assert columns - 8 < longest <= columns
    assert all(character.isprintable() for line in lines for character in line)
    assert sum("..." in line for line in lines) == 2 + 9


def test_a_narrow_terminal_or_reasons_leave_a_few_words(titled, monkeypatch):
    run = titled(NAMED)
    for texts, columns in ((0, 10), (12, 80)):
        lines = lines_of(run, answer_of(run, texts=texts), monkeypatch, columns)
        assert sum("| Lamp no. " in line for line in lines) == 9
    assert "why (generated)" in lines[5]


def test_json_has_titles_beside_ids(titled):
    run = titled(NAMED | {1: "\x1b]0;x\x07 \u202e"})
    text = as_json(run.dataset, answer_of(run))
    assert text.isprintable()
    found = json.loads(text)
    assert found["history"] == ["I3", "I12", "I1"]
    assert found["history_titles"] == [NAMED[3], None, "\x1b]0;x\x07 \u202e"]
    assert {item["item_id"]: item["title"] for item in found["items"]} == {
        f"I{item}": NAMED[item] for item in range(2, 12) if item != 3
    }


def test_the_script_reads_the_file(place):
    (place.data / ITEMS_FILE).write_text(items_json(NAMED))
    how = ["recommend.py", place.data, "--checkpoint", place.run, "--user", "U1", "--explain", "0"]
    done = script(*how)
    assert done.returncode == 0, done.stderr
    assert "  I3  Lamp no. 3 in green\n" in done.stdout
    found = json.loads(script(*how, "--json").stdout)
    assert found["history_titles"][0] == NAMED[3]
