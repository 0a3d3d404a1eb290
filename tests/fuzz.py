"""What the tests with made-up examples share."""

import os

from hypothesis import strategies as st


def examples(few: int) -> int:
    """How many a test makes: ``few``, or HYPOTHESIS_EXAMPLES."""
    return int(os.environ.get("HYPOTHESIS_EXAMPLES", few))


def changes(values: list) -> st.SearchStrategy:
    """What is done to a JSON value, a few times: (place by number, how, value); ``values``: odd
    ones that are tried often."""
    value = st.sampled_from(values) | st.integers() | st.floats() | st.text(max_size=20)
    what = st.tuples(st.integers(0, 10**6), st.sampled_from(["set", "remove", "add"]), value)
    return st.lists(what, min_size=1, max_size=4)
