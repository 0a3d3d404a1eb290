"""Explanations: which text goes with which pair, and a split that gives nothing away."""

import io
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.data.reader import load_dataset
from modules.preparation.crew import Crew
from modules.preparation.explanations import (
    BEYOND,
    UNSEEN,
    Wanted,
    explain_batch,
    sample_texts,
    split_records,
    spool_records,
    write_explanations,
)
from modules.preparation.features import Features, sentences
from modules.preparation.folder import prepare_folder
from modules.preparation.rows import open_raw
from tests.preparation.test_filters import FIVE, as_chunks, make
from tests.preparation.test_prepare import OPTIONS, reviews, write_as
from utils.errors import UserError

NONE = Features(frozenset(), frozenset())
ALL = Wanted("sentence")
NAN = float("nan")


@st.composite
def split_cases(draw):
    """A random table of many users, and which of its pairs have a text."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_users, n_items = draw(st.integers(4, 60)), draw(st.integers(6, 40))
    longest = draw(st.sampled_from([5, 8, 30]))
    table = []
    for user in range(n_users):
        n = min(int(rng.integers(4, longest + 1)), n_items)
        items = rng.choice(n_items, n, replace=False).tolist()
        table += [(user, item, int(rng.integers(9)), 5.0) for item in items]
    table = [table[k] for k in rng.permutation(len(table))]
    return table, draw(st.sampled_from([0.05, 0.5, 1.0])), draw(st.integers(0, 5))


@settings(max_examples=200, deadline=None)
@given(split_cases())
def test_split(case):
    table, share, seed = case
    try:
        kept = make(table, core=2)
    except UserError:
        return
    rng = np.random.default_rng(seed)
    pairs = np.flatnonzero(rng.random(len(kept.rows)) < share)
    split = split_records(kept, pairs, rng)
    held = kept.held_out()[pairs]
    # Held-out pairs are nowhere but in their own split.
    assert not (held[split == 0] > 0).any()
    assert (held[split == 1] != 2).all()
    assert (held[split == 2] != 1).all()
    # What is tested is known from training.
    train_users, train_items = (
        set(ids[pairs[split == 0]].tolist()) for ids in (kept.users, kept.items)
    )
    for user, item, part in zip(kept.users[pairs], kept.items[pairs], split):
        if part > 0:
            assert user in train_users
            assert item in train_items
        if part == UNSEEN:
            assert user not in train_users or item not in train_items
    # Train pairs are all used; 8:1:1, but for what cannot be moved out of train.
    assert (split[held == 0] >= 0).all()
    train, val, test = ((split == part).sum() for part in (0, 1, 2))
    most = max(train / 8, 1)
    assert max(val, test) <= most + 1
    for part, size in ((1, val), (2, test)):
        if ((held == part) & (split == BEYOND)).any():
            assert size >= train / 8 - 1.5
    assert train + val + test + (split == UNSEEN).sum() + (split == BEYOND).sum() == len(pairs)


def many(n_users, length, n_items=50, seed=0):
    """Users with ``length`` items each."""
    rng = np.random.default_rng(seed)
    return [
        (user, int(item), time, 5.0)
        for user in range(n_users)
        for time, item in enumerate(rng.choice(n_items, length, replace=False))
    ]


@pytest.mark.parametrize("length", [4, 8, 20])
def test_ratio(length):
    """Whether leave-one-out gives more than a tenth, or less."""
    kept = make(many(200, length), core=2)
    split = split_records(kept, np.arange(len(kept.rows)), np.random.default_rng(0))
    train, val, test = (int((split == part).sum()) for part in (0, 1, 2))
    assert val == test
    assert train / val == pytest.approx(8, rel=0.02)
    if length > 10:
        assert (split >= 0).all()  # nothing is left out; all held-out ones, and some of train
        held = kept.held_out()
        assert (split[held > 0] == held[held > 0]).all()


def test_texts_meet_their_pairs(tmp_path):
    table = [row for row in FIVE for _ in range(2)]  # rows 1, 3, 5, ... are repeats
    kept = make(table, core=5)
    spool = io.BytesIO()

    class Every(Wanted):  # as if every other kept row spoke of a feature
        def explanations(self, reviews, features):
            texts = [" ".join(review) for review in reviews]
            return [(t, "f") if int(t.split()[1]) % 4 == 0 else None for t in texts]

    work = partial(explain_batch, Every("sentence"), NONE)
    pairs, refused = spool_records(as_chunks(table, 3), kept, work, spool, Crew())
    assert not refused
    records = [json.loads(line) for line in spool.getvalue().splitlines()]
    assert len(records) == len(pairs) == 13
    for record, pair in zip(records, pairs):
        row = int(record["explanation"].split()[1])
        assert kept.user_names[record["user"]] == f"U{table[row][0]}"
        assert kept.item_names[record["item"]] == f"I{table[row][1]}"
        assert kept.rows[pair] == row

    split = np.array([0, 1, 2, -1, 0] + [0] * 8)
    write_explanations(tmp_path / "explanation.json", spool, split)
    data = json.loads((tmp_path / "explanation.json").read_text())
    for number, name in enumerate(("train", "val", "test")):
        assert data[name] == [r for r, part in zip(records, split) if part == number]


def test_sample_is_of_train_pairs(monkeypatch):
    kept = make(FIVE, core=5)
    texts = list(sample_texts(as_chunks(FIVE), kept, ALL, np.random.default_rng(0)))
    held = {f"text {row}" for row in kept.rows[kept.held_out() > 0]}
    assert len(texts) == 15
    assert not held & set(texts)
    monkeypatch.setattr("modules.preparation.explanations.SAMPLE", 6)
    some = list(sample_texts(as_chunks(FIVE), kept, ALL, np.random.default_rng(0)))
    assert len(set(some)) == 6
    assert set(some) < set(texts)


SCENT = Features(frozenset({"scent", "design"}), frozenset())
GERMAN = "Der Duft ist super, das Design ist auch sehr schön."


@pytest.mark.parametrize(
    ("wanted", "text", "rating", "refusal"),
    [
        (Wanted("sentence", "en"), "The scent is great.", 1.0, None),
        (Wanted("sentence", "en"), GERMAN, 5.0, "not in English"),
        (Wanted("summary", "en"), "Sehr schönes Design", 5.0, "not in English"),
        (Wanted("sentence", "en"), "<br />" * 60 + GERMAN, 5.0, "not in English"),
        (Wanted("sentence", "any"), GERMAN, 5.0, None),
        (Wanted("sentence", "any", 4.0), "The scent is great.", 4.0, None),
        (Wanted("sentence", "any", 4.0), "The scent is great.", 3.5, "not rated 4 or more"),
        (Wanted("sentence", "any", 4.0), "The scent is great.", NAN, "not rated 4 or more"),
        (Wanted("sentence", "any", 0.0), "The scent is great.", NAN, "not rated 0 or more"),
    ],
)  # fmt: skip
def test_which_reviews_may_explain(wanted, text, rating, refusal):
    assert wanted.refusals([sentences(text)], [rating]) == [refusal]


def test_a_sentence_in_another_language_is_passed_over():
    review = f"I bought it for my sister, who likes it a lot. {GERMAN} The scent is great."
    english, any_language = Wanted("sentence", "en"), Wanted("sentence", "any")
    found = [sentences(review), sentences(GERMAN)]
    assert english.refusals(found[:1], [5.0]) == [None]
    assert english.explanations(found, SCENT) == [("The scent is great.", "scent"), None]
    assert any_language.explanations(found[:1], SCENT) == [(GERMAN, "design")]


FOREIGN = (
    "Der Scent ist super, die Bottle ist leider kaputt.",
    "这个香水的味道很好，瓶子也很漂亮。",
)


def explained(folder, rows, **changes):
    """The explanations that come of rows as in NAMES, and the account of them."""
    raw = write_as(folder / "raw.json", rows)
    options = replace(OPTIONS, **changes)
    stats = prepare_folder(open_raw(raw, None, None, {}), folder / "out", options, {})
    splits = load_dataset(folder / "out").explanations.values()
    return [text for records in splits for text in records.texts], stats["explanations"]


def test_reviews_in_other_languages_are_left_out_and_counted(tmp_path):
    own = list({row[:2]: row for row in reviews()}.values())
    texts = dict(enumerate(FOREIGN))
    rows = [(*row[:4], texts.get(k % 5, row[4]), row[5]) for k, row in enumerate(own)]
    texts, account = explained(tmp_path, rows)
    foreign = account["not in English"]
    assert foreign / sum(account.values()) == pytest.approx(2 / 5, abs=0.1)
    assert texts
    assert not set(FOREIGN) & set(texts)
    texts, account = explained(tmp_path, rows, language="any")
    assert "not in English" not in account
    assert FOREIGN[0] in texts


@pytest.mark.parametrize("key", ["reviewText", "overall"])
def test_a_line_that_gives_a_key_twice_is_bad_in_every_pass(tmp_path, key):
    """Texts are told by the number of their row: one that one pass lacks would shift the rest."""
    own = list({row[:2]: row for row in reviews()}.values())
    rows = [(*row[:4], f"The scent of {row[0]} {row[1]} is nice.", row[5]) for row in own]
    raw = write_as(tmp_path / "raw.json", rows)
    lines = raw.read_text().splitlines(keepends=True)
    lines[7] = lines[7].replace("{", f'{{"{key}": 1, ', 1)
    raw.write_text("".join(lines))
    options = replace(OPTIONS, explain_from_rating=1.0, strict=False)
    stats = prepare_folder(open_raw(raw, None, None, {}), tmp_path / "out", options, {})
    assert stats["rows"]["bad"] == 1
    data = load_dataset(tmp_path / "out")
    records = 0
    for split in data.explanations.values():
        for user, item, text in zip(split.users, split.items, split.texts):
            assert text == f"The scent of {data.user_names[user]} {data.item_names[item]} is nice."
            records += 1
    assert records > 100


def test_reviews_that_are_rated_low_explain_nothing(tmp_path):
    """But they stay in the histories, and so do those without a rating."""
    own = list({row[:2]: row for row in reviews()}.values())
    stars = [None if k % 10 == 0 else row[3] for k, row in enumerate(own)]
    rows = [
        (*row[:3], rated, f"The price of this is {rated} stars.", row[5])
        for row, rated in zip(own, stars)
    ]
    texts, account = explained(tmp_path, rows)
    assert len(set(texts)) == 5
    kept, share = sum(account.values()), sum(r is None or r < 4 for r in stars) / len(stars)
    texts, account = explained(tmp_path, rows, explain_from_rating=4.0)
    assert set(texts) == {"The price of this is 4 stars.", "The price of this is 5 stars."}
    assert account["not rated 4 or more"] / kept == pytest.approx(share, abs=0.1)
    assert sum(account.values()) == kept
