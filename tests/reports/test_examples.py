"""Examples of a report: who is drawn, and what is shown."""

from dataclasses import replace

import numpy as np
import pytest

from modules.reports.examples import choose
from modules.runs.kinds import RankedRow
from tests.reports.conftest import NASTY, change, page_of, rows
from utils.json_files import check_type, write_jsonl


def test_examples_are_drawn_and_hits_are_other_people():
    row = check_type("rows", rows()[1], RankedRow)
    pool = [
        replace(row, user=u + 1, target=1 if u % 2 else 9, rank=0 if u % 2 else None)
        for u in range(40)
    ]
    drawn, hits = choose(pool, np.random.default_rng(0))
    assert (len(drawn), len(hits)) == (4, 2)
    assert all(row.rank == 0 for row in hits)
    assert not {row.user for row in drawn} & {row.user for row in hits}


def test_examples_show_hit_history_and_reason(run_folder):
    text = page_of(run_folder).text
    assert "I1, number 1 of the list" in text
    assert "I5, number 5 of the list" in text
    assert "U2" not in text  # no explanation of this user, whereas others have one
    assert "Why I5, as generated" in text
    assert "Why item 11, as generated" in text  # an item of no list has no name here
    assert "36.8 %" in text  # e^-1
    assert "0.012 %" in text  # e^-9
    assert "2 more, then" in text


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
    assert "Why I5 Boots <b>&, as generated" in text
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
