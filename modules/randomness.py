"""One seed a run, and a generator of its own for each purpose that draws from it.

So what one part draws changes nothing in what another does: a run with other negatives still has
the same item numbers.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Independent random streams of one run, all derived from its one seed."""

    ITEM_NUMBERS = 0
    VALID_CANDIDATES = 1
    TEST_NEGATIVES = 2
    TEST_ORDER = 3
    TRAIN = 4  # TRAIN + the task's number, 0 to 2
    TIES = 7  # order of items that a baseline scores alike
    RESAMPLING = 8  # permutations and bootstrap of a comparison
    LEAK = 9  # edges of a simulated published graph
    BASELINE = 10  # weights and samples of a baseline that is trained step by step
    PREPARE_NUMBERS = 16
    PREPARE_NEGATIVES = 17
    PREPARE_EXPLANATIONS = 18


def rng(seed: int, stream: int, draw: int = 0) -> np.random.Generator:
    """The generator of one stream of a run; or of the ``draw``-th, where it draws again and again
    and each draw is told by its number alone."""
    return np.random.default_rng([seed, stream, draw] if draw else [seed, stream])
