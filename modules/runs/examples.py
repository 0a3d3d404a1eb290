"""Which users a report shows. Evaluations ask the same, to write what it shows of them alone."""

from collections.abc import Sequence

import numpy as np

DRAWN, HITS = 4, 2  # users at random; and others, whose test item was listed


def example_rows(ranks: Sequence[int | None], seed: int) -> tuple[list[int], list[int]]:
    """Rows of users at random, and others at random of those with a hit.

    ranks: of the n rows' targets; None where it is not in the list.
    """
    order = np.random.default_rng(seed).permutation(len(ranks)).tolist()
    hits = [row for row in order[DRAWN:] if ranks[row] is not None]
    return order[:DRAWN], hits[:HITS]
