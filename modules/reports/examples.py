"""Examples of a report: what a user had, the list, the hit if any, the explanation.

It chooses and prepares values; templates/report.html shows them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from modules.runs.kinds import RankedRow, TextRow

ROUNDING = 1e-3  # how far above 0 the log-probability of something certain may come out
DRAWN, HITS = 4, 2  # users at random; and others, whose test item was listed


class Item(NamedTuple):
    """What an item is called."""

    id: str  # the original one
    title: str  # "" where it has none


class Listed(NamedTuple):
    """An item of a list."""

    item: Item
    chance: str  # the model's probability; empty where the score is not one
    hit: bool


class Explanation(NamedTuple):
    """Why a user would like an item."""

    item: Item
    generated: str
    written: str  # by the user


class Card(NamedTuple):
    """One user."""

    user: str
    earlier: int  # items of the history before those of ``had``
    had: list[Item]  # oldest first
    listed: list[Listed]
    took: Item  # the test item
    place: int | None  # of the test item in the list, from 1
    explanation: Explanation | None


class Examples(NamedTuple):
    """The section."""

    task: str
    drawn: int
    hits: int
    probable: bool  # the scores are log-probabilities
    cards: list[Card]


def examples(
    task: str,
    lists: Sequence[RankedRow],
    explanations: Sequence[TextRow],
    probable: bool,
    seed: int,
) -> Examples | None:
    """A few users, drawn with the seed; of those with an explanation where there are any.

    Args:
        task: of the lists.
        lists, explanations: rows of the jsonl files.
        probable: the lists' scores are log-probabilities.

    Returns:
        None where no row can be shown: files of older code lack the history.
    """
    texts = {row.user: row for row in explanations}
    pool = [row for row in lists if row.last_item_ids and (not texts or row.user in texts)]
    if not pool:
        return None
    names = {item: name for row in lists for item, name in zip(row.items, row.item_ids)}
    names |= {row.target: row.target_id for row in pool}
    titles = {name: title for row in lists for name, title in row.titles.items()}
    drawn, hits = choose(pool, np.random.default_rng(seed))
    cards = []
    for row in drawn + hits:
        why = None
        if text := texts.get(row.user):
            name = names.get(text.item, f"item {text.item}")
            why = Explanation(_item(name, titles), text.text, text.reference)
        cards.append(_card(row, why, titles, probable))
    return Examples(task, len(drawn), len(hits), probable, cards)


def choose(
    pool: Sequence[RankedRow], rng: np.random.Generator
) -> tuple[list[RankedRow], list[RankedRow]]:
    """Users at random, and others at random of those with a hit."""
    order = rng.permutation(len(pool))
    drawn = [pool[n] for n in order[:DRAWN]]
    hits = [pool[n] for n in order[DRAWN:] if pool[n].rank is not None]
    return drawn, hits[:HITS]


def _item(name: str, titles: Mapping[str, str]) -> Item:
    return Item(name, titles.get(name, ""))


def _card(
    row: RankedRow, why: Explanation | None, titles: Mapping[str, str], probable: bool
) -> Card:
    """titles: by original id."""
    return Card(
        user=row.user_id,
        earlier=row.history_length - len(row.last_item_ids),
        had=[_item(name, titles) for name in row.last_item_ids],
        listed=[
            Listed(_item(name, titles), percent(score) if probable else "", place == row.rank)
            for place, (name, score) in enumerate(zip(row.item_ids, row.scores))
        ],
        took=_item(row.target_id, titles),
        place=None if row.rank is None else row.rank + 1,
        explanation=why,
    )


def percent(score: float) -> str:
    """A log-probability as a percentage; "" where the score is none."""
    if score > ROUNDING:
        return ""
    value = 100 * math.exp(score)
    if value < 0.001:
        return f"{value:.1g} %"
    return f"{value:.1f} %" if value >= 1 else f"{value:.3f} %"
