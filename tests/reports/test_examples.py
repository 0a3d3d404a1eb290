"""Examples of a report: who is drawn, and what is shown."""

import json

import pytest

from modules.runs.examples import example_rows
from tests.reports.conftest import NASTY, change, page_of, rows
from utils.json_files import write_jsonl


def test_examples_are_drawn_and_hits_are_other_people():
    ranks = [0 if n % 2 else None for n in range(40)]
    drawn, hits = example_rows(ranks, 0)
    assert (len(drawn), len(hits)) == (4, 2)
    assert all(ranks[row] == 0 for row in hits)
    assert not set(drawn) & set(hits)
    assert example_rows(ranks, 0) == (drawn, hits)
    assert example_rows(ranks, 1) != (drawn, hits)
    assert example_rows([None, 3], 0)[1] == []


def test_examples_show_hit_and_history(run_folder):
    text = page_of(run_folder).text
    assert "I1, number 1 of the list" in text
    assert "I5, number 5 of the list" in text
    assert "36.8 %" in text  # e^-1
    assert "0.012 %" in text  # e^-9
    assert "2 more, then" in text


def reasons_of(page):
    """The items that a page gives reasons for, in the examples."""
    return [part.partition(", as generated")[0] for part in page.text.split("Why ")[1:]]


@pytest.mark.usefixtures("no_drawing")
def test_the_reason_is_of_the_first_item_recommended(run_folder):
    assert reasons_of(page_of(run_folder)) == []  # the tested texts are on items further down
    lists = rows()
    lists[1]["reason"] = "it glows"
    write_jsonl(run_folder / "sequential.jsonl", lists)
    page = page_of(run_folder)
    assert reasons_of(page) == ["I1"]
    assert "it glows" in page.text
    text = {"user": 3, "item": 1, "reference": "so warm", "text": "nice and warm"}
    write_jsonl(run_folder / "explanation.jsonl", [text, text | {"user": 4, "item": 2}])
    page = page_of(run_folder)
    assert reasons_of(page) == ["I1", "I1"]
    assert "Why I1, as generated nice and warm as the user wrote so warm" in page.text


@pytest.mark.usefixtures("no_drawing")
def test_tested_texts_stand_beside_what_users_wrote(run_folder):
    text = page_of(run_folder).text
    assert f"U1 on I5 as generated {NASTY} as the user wrote warm" in text
    assert "U3 on item 11" in text  # an item of no list has no name here
    texts = [json.loads(line) for line in (run_folder / "explanation.jsonl").open()]
    write_jsonl(run_folder / "explanation.jsonl", texts * 5)
    change(run_folder / "explanation.json", users=10)
    assert page_of(run_folder).text.count("as the user wrote") == 4


def with_titles(run_folder, titles):
    """The rows, each with the titles of its items, as an evaluation writes them."""
    named = [row | {"titles": titles} for row in rows()]
    for task in ("sequential", "direct"):
        write_jsonl(run_folder / f"{task}.jsonl", named)


def test_titles_stand_beside_ids(run_folder):
    before = page_of(run_folder).text
    with_titles(run_folder, {"I1": "Tea", "I6": "Old lamp", "I9": "Soap", "I5": "Boots <b>&"})
    text = page_of(run_folder).text
    assert "I6 Old lamp, I7" in text
    assert "36.8 %I1 Tea" in text
    assert "I1 Tea, number 1 of the list" in text
    assert "U1 on I5 Boots <b>&" in text
    for title in ("Tea", "Old lamp", "Soap", "Boots <b>&"):
        text = text.replace(f" {title}", "")
    assert text == before


@pytest.mark.parametrize("title", [NASTY, "\u202eabc", "x" * 1000])
def test_titles_do_no_harm(run_folder, title):
    with_titles(run_folder, dict.fromkeys(["I1", "I5", "I6"], title))
    page = page_of(run_folder)
    page.check_harmless()
    assert " ".join(title.split()) in page.text
    assert "bdi" in page.tags  # a title that turns the direction of writing turns its own alone


@pytest.mark.parametrize("other", [{"decode": "beam"}, {"arguments": {"linear": 100.0}}])
def test_scores_that_are_no_probabilities_are_left_out(run_folder, other):
    change(run_folder / "sequential.json", **other)
    assert "36.8 %" not in page_of(run_folder).text
