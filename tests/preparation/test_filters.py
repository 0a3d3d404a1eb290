"""Filters, order and numbering on random tables, against slow plain versions."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.preparation.clock import Times
from modules.preparation.filters import Kept, gather, keep, write_histories
from modules.preparation.rows import Rows
from utils.errors import UserError

# (user, item, time, rating), few of each so that pairs repeat and times tie.
TABLES = st.lists(
    st.tuples(
        st.integers(0, 7), st.integers(0, 6), st.integers(0, 5), st.sampled_from([1.0, 3.0, 5.0])
    ),
    max_size=120,
)


def as_chunks(table, size=17):
    for start in range(0, len(table), size):
        part = table[start : start + size]
        yield Rows(
            [f"U{u}" for u, *_ in part],
            [f"I{i}" for _, i, *_ in part],
            Times(np.array([t for _, _, t, _ in part], np.int64), np.zeros(len(part), np.int64)),
            [r for *_, r in part],
            [f"text {start + k}" for k in range(len(part))],
        )


def make(table, min_rating=None, core=2, numbering="random", seed=0) -> Kept:
    return keep(gather(as_chunks(table)), min_rating, core, numbering, np.random.default_rng(seed))


def plainly(table, min_rating, core):
    """{user: [row, ...]}: what should be left, oldest first, worked out one by one."""
    rows = [k for k, row in enumerate(table) if min_rating is None or row[3] >= min_rating]
    rows.sort(key=lambda k: (table[k][2], k))
    seen, once = set(), []
    for k in rows:
        if table[k][:2] not in seen:
            seen.add(table[k][:2])
            once.append(k)
    while True:
        of_user = Counter(table[k][0] for k in once)
        of_item = Counter(table[k][1] for k in once)
        left = [
            k for k in once if of_user[table[k][0]] >= max(core, 4) and of_item[table[k][1]] >= core
        ]
        if left == once:
            break
        once = left
    histories: dict[str, list[int]] = {}
    for k in once:
        histories.setdefault(f"U{table[k][0]}", []).append(k)
    return histories


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    TABLES,
    st.sampled_from([None, 3.0]),
    st.integers(1, 5),
    st.sampled_from(["random", "first_seen"]),
)
def test_what_is_kept(table, min_rating, core, numbering):
    expected = plainly(table, min_rating, core)
    if not expected:
        with pytest.raises(UserError, match=f"--core {core}: of {len(table):,} interactions"):
            make(table, min_rating, core, numbering)
        return
    kept = make(table, min_rating, core, numbering)
    offsets = kept.offsets
    # Every id is mapped back to what is in the file, and histories are as expected.
    assert set(kept.user_names[1:]) == set(expected)
    for user, name in enumerate(kept.user_names[1:], start=1):
        part = slice(offsets[user - 1], offsets[user])
        assert kept.rows[part].tolist() == expected[name]
        assert [kept.item_names[i] for i in kept.items[part]] == [
            f"I{table[k][1]}" for k in expected[name]
        ]
    assert len(set(kept.item_names)) == len(kept.item_names)
    assert sorted(np.unique(kept.items)) == list(range(1, len(kept.item_names)))
    # Nothing is lost but what a filter took.
    assert len(kept.rows) + sum(kept.left_out.values()) == len(table)
    assert len(expected) + sum(kept.users_left_out.values()) == len({row[0] for row in table})
    items = {table[k][1] for rows in expected.values() for k in rows}
    assert len(items) + sum(kept.items_left_out.values()) == len({row[1] for row in table})
    rated = {row[0] for row in table if min_rating is None or row[3] >= min_rating}
    assert kept.users_left_out["repeated pairs"] == 0
    assert kept.users_left_out[f"users below {max(core, 4)} or items below {core}"] == len(
        rated - {int(name[1:]) for name in expected}
    )
    assert kept.left_out["repeated pairs"] == len(
        [row for row in table if min_rating is None or row[3] >= min_rating]
    ) - len({row[:2] for row in table if min_rating is None or row[3] >= min_rating})
    held = kept.held_out()
    for user in range(1, len(offsets)):
        assert held[offsets[user - 1] : offsets[user]].tolist()[-2:] == [1, 2]
    assert held.sum() == 3 * (len(offsets) - 1)


FIVE = [(u, i, 10 * u + i, 5.0) for u in range(5) for i in range(5)]


def test_numbering():
    first_seen = make(FIVE, core=5, numbering="first_seen")
    assert first_seen.user_names == ("", "U0", "U1", "U2", "U3", "U4")
    assert first_seen.item_names == ("", "I0", "I1", "I2", "I3", "I4")
    orders = {make(FIVE, core=5, seed=seed).item_names for seed in range(20)}
    assert len(orders) > 10
    assert make(FIVE, core=5, seed=3)[3:5] == make(FIVE, core=5, seed=3)[3:5]


def test_items_are_numbered_user_after_user():
    """As in the published sets: by the order of histories, not by that of the file."""
    table = [(0, i, -i, 5.0) for i in range(5)] + [(1, i, i, 5.0) for i in range(5)]
    assert make(table, core=2, numbering="first_seen").item_names[1:] == (
        "I4",
        "I3",
        "I2",
        "I1",
        "I0",
    )


def test_the_first_in_time_of_a_repeated_pair_stays():
    table = [(0, 0, 9, 5.0), *FIVE, (0, 0, -1, 5.0), (0, 0, -1, 5.0)]
    kept = make(table, core=5, numbering="first_seen")
    assert kept.rows[0] == len(FIVE) + 1  # the earliest; of two, the one that comes first
    assert kept.left_out["repeated pairs"] == 3


def test_ties_are_reported():
    assert make(FIVE, core=5).tied == 0
    table = [(u, i, min(i, 3) if u < 2 else i, 5.0) for u, i, *_ in FIVE]
    assert make(table, core=5).tied == pytest.approx(2 / 5)


def test_written_histories(tmp_path):
    kept = make(FIVE, core=5, numbering="first_seen")
    write_histories(tmp_path, kept)
    assert (tmp_path / "sequential.txt").read_text().splitlines() == [
        f"{u} 1 2 3 4 5" for u in range(1, 6)
    ]
