"""When training stops, and which scorer it gives."""

import numpy as np
import pytest

from modules.baselines.ranking import tie_places
from modules.baselines.scorer import ask
from modules.baselines.stopping import Pace, batch_size, train_until_best, validation_ndcg
from modules.baselines.tuning import Known, make_arena, rank_all
from modules.data.dataset import HeldOut
from modules.data.histories import train_matrix
from utils.metrics.ranking import ndcg


def scorer_of(dataset, right):
    """Ranks the validation items of the first ``right`` users first, and of the others last."""

    def score(histories, asked):
        found = np.zeros((len(asked.users), dataset.n_items + 1), dtype=np.float32)
        targets = dataset.targets(asked.users, HeldOut.VALIDATION)
        found[np.arange(len(found)), targets] = np.where(asked.users <= right, 1.0, -1.0)
        return found

    return score


@pytest.mark.parametrize(
    ("right", "patience", "epochs", "best"),
    [
        ([1, 3, 2, 2, 4], 2, 8, 3),  # two looks brought nothing better: the 4 never comes
        ([1, 3, 2, 4, 0, 0], 9, 11, 4),  # the last epoch is looked at as well
        ([0, 0, 0, 0], 2, 6, 0),
    ],
)
def test_the_best_of_the_looks_is_kept(dataset, right, patience, epochs, best):
    made, done = [], []

    def scorer():
        made.append(scorer_of(dataset, right[len(made)]))
        return made[-1]

    pace = Pace(every=2, patience=patience, most=11)
    found = train_until_best(dataset, 0, pace, lambda: done.append(1), scorer)
    assert len(done) == epochs
    assert found is made[right.index(best)]


def test_quality_is_what_tuning_finds(dataset):
    generator = np.random.default_rng(0)
    table = generator.integers(0, 3, (5, 13)).astype(np.float32)  # many ties
    arena = make_arena(dataset, 0, 5, 10, (1.0,))

    def score(histories, asked):
        assert asked.until == HeldOut.VALIDATION
        return table[asked.users]

    known = Known(train_matrix(dataset), HeldOut.VALIDATION)
    ranks = rank_all(arena, score, known, HeldOut.VALIDATION, 0).ranks
    assert 0 < ndcg(ranks, 10) < 1
    assert validation_ndcg(dataset, score, tie_places(dataset, 0)) == ndcg(ranks, 10)


def test_scores_that_are_no_numbers_are_no_good(dataset):
    def score(histories, asked):
        return np.full((len(asked.users), dataset.n_items + 1), np.nan, dtype=np.float32)

    assert validation_ndcg(dataset, score, tie_places(dataset, 0)) == 0.0


def test_small_data_have_small_batches():
    assert [batch_size(n, 128) for n in (1, 40, 400, 2048, 99_999)] == [1, 2, 25, 128, 128]


def test_what_is_asked_ends_before_the_held_out_item(dataset):
    for until in (HeldOut.TEST, HeldOut.VALIDATION):
        asked = ask(dataset, np.array([3, 1]), until)
        assert asked.last.tolist() == [dataset.history(user)[:-until][-1] for user in (3, 1)]
