"""Rows of items in which each is once."""

import numpy as np
import pytest

from modules.data.negatives import each_once


@pytest.mark.parametrize("n_items", [1, 3, 40, 10_000])
@pytest.mark.parametrize("width", [1, 2, 100])
def test_each_item_keeps_its_first_place_in_its_row(n_items, width):
    rows = np.random.default_rng(width).integers(1, n_items + 1, (30, width))
    once = each_once(rows)
    for row, found in zip(rows.tolist(), once.tolist()):
        assert found == [item if item not in row[:at] else 0 for at, item in enumerate(row)]
        assert [item for item in found if item] == list(dict.fromkeys(row))
