"""Examples of a report: who is drawn, and what is shown."""

from dataclasses import replace

import numpy as np
import pytest

from modules.reports.examples import choose
from modules.runs.kinds import RankedRow
from tests.reports.conftest import change, page_of, rows
from utils.json_files import check_type


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


@pytest.mark.parametrize("other", [{"decode": "beam"}, {"arguments": {"linear": 100.0}}])
def test_scores_that_are_no_probabilities_are_left_out(run_folder, other):
    change(run_folder / "sequential.json", **other)
    assert "36.8 %" not in page_of(run_folder).text
