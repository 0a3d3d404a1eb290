"""Examples of a report: what a user had, the list, the hit if any, the explanation."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modules.reports.html import Html, join, tag, text, unbroken

DRAWN, HITS = 4, 2  # users at random; and of those whose test item was listed
_TITLES = {"sequential": "Next items", "direct": "Best of the candidates"}


def examples(
    task: str,
    lists: Sequence[Mapping[str, Any]],
    explanations: Sequence[Mapping[str, Any]],
    probable: bool,
    seed: int,
) -> Iterator[Html]:
    """Cards of a few users, drawn with the seed, of those with an explanation where there are any.

    Args:
        task: of the lists.
        lists, explanations: rows of the jsonl files.
        probable: the lists' scores are log-probabilities.
    """
    texts = {row["user"]: row for row in explanations}
    # Rows of files that older code wrote lack what a card begins with.
    pool = [row for row in lists if "last_item_ids" in row and (not texts or row["user"] in texts)]
    if not pool:
        return
    names = {item: name for row in lists for item, name in zip(row["items"], row["item_ids"])} | {
        row["target"]: row["target_id"] for row in pool
    }
    chosen, hits = choose(pool, np.random.default_rng(seed))
    yield tag(
        "p",
        f"{len(chosen)} users drawn at random with seed {seed}"
        + (f", and {len(hits)} more of those whose test item was listed" if hits else "")
        + "."
        + (" Percentages are the model's probabilities." if probable else ""),
        kind="note",
    )
    cards = [_card(task, row, texts.get(row["user"]), names, probable) for row in chosen + hits]
    yield tag("div", *cards, kind="cards")


def choose(pool: Sequence[Any], rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
    """Users at random, and others at random of those with a hit."""
    order = rng.permutation(len(pool))
    drawn = [pool[n] for n in order[:DRAWN]]
    hits = [pool[n] for n in order[DRAWN:] if pool[n]["rank"] is not None]
    return drawn, hits[:HITS]


def _card(
    task: str,
    row: Mapping[str, Any],
    told: Mapping[str, Any] | None,
    names: Mapping[int, str],
    probable: bool,
) -> Html:
    earlier = row["history_length"] - len(row["last_item_ids"])
    *but_last, last = row["last_item_ids"]
    had = unbroken([*(f"{name}," for name in but_last), last])
    had = join([f"{earlier} more, then", had]) if earlier else had
    listed = [
        tag(
            "li",
            tag("span", chance(score), kind="chance") if probable else "",
            name,
            kind="hit" if place == row["rank"] else "",
        )
        for place, (name, score) in enumerate(zip(row["item_ids"], row["scores"]))
    ]
    taken = f"{row['target_id']}, not among the {len(listed)}"
    if row["rank"] is not None:
        taken = f"{row['target_id']}, number {row['rank'] + 1} of the list"
    parts = [
        tag("h3", row["user_id"]),
        tag("h4", "Had, oldest first"),
        tag("div", had, kind="items"),
        tag("h4", _TITLES[task]),
        tag("ol", *listed),
        tag("h4", "Took"),
        tag("div", taken, kind="items"),
    ]
    if told is not None:
        item = names.get(told["item"], f"item {told['item']}")
        parts += [
            tag("h4", f"Why {item}, as generated"),
            tag("blockquote", told["text"]),
            tag("h4", "as the user wrote"),
            tag("blockquote", told["reference"]),
        ]
    return tag("article", *parts)


def chance(score: float) -> Html:
    """A log-probability as a percentage."""
    percent = 100 * math.exp(score)
    if percent < 0.001:
        return text(f"{percent:.1g} %")
    return text(f"{percent:.1f} %" if percent >= 1 else f"{percent:.3f} %")
