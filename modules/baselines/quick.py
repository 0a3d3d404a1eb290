"""Simple models that are fitted and ranked in seconds: what a model that was just trained is put
beside.

Only the weight of recency is chosen, and by the very users that are asked, as the epoch of the
model is. ``compare.py baselines`` tunes the rest too.
"""

from typing import Any

import numpy as np

from modules.baselines.ranking import tie_places
from modules.baselines.simple import BASELINES, DECAYS
from modules.baselines.tuning import Arena, Fits, Known, rank_all
from modules.data.dataset import HeldOut, RecDataset
from modules.data.histories import train_matrix, weighted_histories
from modules.evaluation.seen import Tested
from utils.console import say
from utils.metrics.ranking import ndcg

MOST_EASE_ITEMS = 20_000  # whose matrix takes 1.6 GB, and a minute on two cores
QUICK: dict[str, dict[str, Any]] = {
    "popularity": {},
    "item_knn": {"neighbours": 100},
    "ease": {"l2": 200.0},
}


def quick_ranks(
    dataset: RecDataset, users: np.ndarray, seen: str, seed: int
) -> dict[str, np.ndarray]:
    """The ranks of n users' validation items in the catalogue, by the title of the simple model.

    Args:
        users: (n,).
        seen: ``DROP`` or ``KEEP``, of what a user had (modules/evaluation/seen.py).
        seed: of the order of items that a model scores alike.

    Returns:
        title -> (n,) 0-based, NOT_RANKED where the item is left out.
    """
    train, place = train_matrix(dataset), tie_places(dataset, seed)
    tested = Tested(users, 0)
    arena = Arena(dataset, train, place, seed, 0, 0, DECAYS, seen, tested, users, seen)
    found = {}
    for name, setting in QUICK.items():
        baseline = BASELINES[name]
        lack = baseline.lack(train, setting)
        if name == "ease" and dataset.n_items > MOST_EASE_ITEMS:
            lack = f"takes minutes with more than {MOST_EASE_ITEMS:,} items"
        if lack:
            say(f"{baseline.title} is not compared: it {lack}")
            continue
        score, tried = Fits(arena, baseline).scorer(setting), []
        for decay in DECAYS if baseline.weighs_recency else (1.0,):
            histories = weighted_histories(dataset, HeldOut.VALIDATION, decay, users=users)
            known = Known(histories, HeldOut.VALIDATION, users)
            tried.append(rank_all(arena, score, known, HeldOut.VALIDATION, 0).ranks)
        found[baseline.title] = max(tried, key=lambda ranks: ndcg(ranks, 10))
        del score  # a matrix of items by items, before there is another
    return found
