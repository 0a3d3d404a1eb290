"""Examples of a report: what a user had, the list, the hit if any, why the first item; and texts of
the explanation test.

It chooses and prepares values; templates/report.html shows them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modules.runs.examples import DRAWN, example_rows
from modules.runs.kinds import RankedRow, TextRow

ROUNDING = 1e-3  # how far above 0 the log-probability of something certain may come out


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

    user: str
    item: Item
    generated: str
    written: str  # by the user; "" where the user wrote nothing of it


class Card(NamedTuple):
    """One user."""

    user: str
    earlier: int  # items of the history before those of ``had``
    had: list[Item]  # oldest first
    listed: list[Listed]
    took: Item  # the test item
    place: int | None  # of the test item in the list, from 1
    explanation: Explanation | None  # of the first item of the list


class Examples(NamedTuple):
    """The section."""

    task: str
    drawn: int
    hits: int
    probable: bool  # the scores are log-probabilities
    cards: list[Card]


class Names:
    """What the rows of lists call users and items, by number and by id."""

    def __init__(self, lists: Sequence[RankedRow]) -> None:
        """lists: rows of a ranking's jsonl file."""
        self._ids = {item: name for row in lists for item, name in zip(row.items, row.item_ids)}
        self._ids |= {row.target: row.target_id for row in lists}
        self._titles = {name: title for row in lists for name, title in row.titles.items()}
        self._users = {row.user: row.user_id for row in lists}

    def item(self, name: str) -> Item:
        """An item, by its original id."""
        return Item(name, self._titles.get(name, ""))

    def explanation(self, row: TextRow) -> Explanation:
        """A row of explanation.jsonl; what no list names is called by its number."""
        item = self.item(self._ids.get(row.item, f"item {row.item}"))
        user = self._users.get(row.user, f"user {row.user}")
        return Explanation(user, item, row.text, row.reference)


def examples(
    task: str,
    lists: Sequence[RankedRow],
    explanations: Sequence[TextRow],
    probable: bool,
    seed: int,
) -> Examples | None:
    """A few users, drawn with the seed.

    Args:
        task: of the lists.
        lists, explanations: rows of the jsonl files.
        probable: the lists' scores are log-probabilities.

    Returns:
        None where no row can be shown: files of older code lack the history.
    """
    texts = {(row.user, row.item): row for row in explanations}
    names = Names(lists)
    drawn, hits = (
        [lists[n] for n in part if lists[n].last_item_ids]
        for part in example_rows([row.rank for row in lists], seed)
    )
    cards = []
    for row in drawn + hits:
        about = texts.get((row.user, row.items[0])) if row.items else None
        why = names.explanation(about) if about else None
        if row.reason and row.items:
            first = names.item(row.item_ids[0])
            why = Explanation(row.user_id, first, row.reason, about.reference if about else "")
        cards.append(_card(row, why, names, probable))
    return Examples(task, len(drawn), len(hits), probable, cards) if cards else None


def tested_texts(
    lists: Sequence[RankedRow], explanations: Sequence[TextRow], seed: int
) -> list[Explanation]:
    """A few texts of the explanation test beside what users wrote, drawn with the seed."""
    names = Names(lists)
    order = np.random.default_rng(seed).permutation(len(explanations))
    return [names.explanation(explanations[n]) for n in order[:DRAWN].tolist()]


def _card(row: RankedRow, why: Explanation | None, names: Names, probable: bool) -> Card:
    return Card(
        user=row.user_id,
        earlier=row.history_length - len(row.last_item_ids),
        had=[names.item(name) for name in row.last_item_ids],
        listed=[
            Listed(names.item(name), percent(score) if probable else "", place == row.rank)
            for place, (name, score) in enumerate(zip(row.item_ids, row.scores))
        ],
        took=names.item(row.target_id),
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
