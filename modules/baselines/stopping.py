"""Training that stops by itself, once the validation items are no longer ranked better."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from modules.baselines.ranking import batches_of_users, rank_rows, tie_places
from modules.baselines.scorer import Scorer, ask
from modules.data.dataset import HeldOut, RecDataset
from modules.data.histories import train_matrix
from utils.console import progress, say
from utils.metrics.ranking import ndcg

_STEPS = 16  # an epoch has at least so many


class Pace(NamedTuple):
    """How long training lasts."""

    every: int  # epochs from one look at the validation items to the next
    patience: int  # looks in a row that may bring nothing better
    most: int  # epochs, whatever comes


def batch_size(n: int, most: int) -> int:
    """How many of n samples a step takes: ``most``, or fewer where the data are small."""
    return max(1, min(most, n // _STEPS))


def train_until_best(
    dataset: RecDataset,
    seed: int,
    pace: Pace,
    epoch: Callable[[], object],
    scorer: Callable[[], Scorer],
) -> Scorer:
    """The scorer that ranks the validation items best, by NDCG@10 in the whole catalogue.

    Args:
        seed: of the order of equal scores.
        epoch: trains once through the data.
        scorer: what the model knows now; later epochs must not change it.
    """
    place = tie_places(dataset, seed)
    best, best_ndcg, best_epoch = None, -1.0, 0
    bar = progress(pace.most, "training", "epoch")
    for done in range(1, pace.most + 1):
        epoch()
        bar.update()
        if done % pace.every and done < pace.most:
            continue
        score = scorer()
        quality = validation_ndcg(dataset, score, place)
        bar.set_postfix_str(f"validation NDCG@10 {quality:.4f}", refresh=False)
        if quality > best_ndcg:
            best, best_ndcg, best_epoch = score, quality, done
        elif done - best_epoch >= pace.every * pace.patience:
            break
    bar.close()
    say(f"  {done} epochs; best after {best_epoch}: validation NDCG@10 {best_ndcg:.4f}")
    return best


def validation_ndcg(dataset: RecDataset, score: Scorer, place: np.ndarray) -> float:
    """NDCG@10 of the validation items among all items but those of train.

    place: (I + 1,) of two items with equal scores, the one of the lower place comes first.
    """
    had, catalogue = train_matrix(dataset), np.arange(dataset.n_items + 1)[None]
    targets = dataset.valid_items.astype(np.int64)
    ranks = []
    for rows in batches_of_users(dataset.n_users, dataset.n_items):
        scores = score(had[rows], ask(dataset, dataset.users[rows], HeldOut.VALIDATION))
        scores[:, 0] = -np.inf  # no item
        scores[had[rows].nonzero()] = -np.inf
        ranks.append(rank_rows(scores, catalogue, place, targets[rows], 0).ranks)
    return ndcg(np.concatenate(ranks), 10)
