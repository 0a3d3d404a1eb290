"""Rankings and texts over whole sets: nothing invented, nothing repeated, user order kept."""

import numpy as np
import pytest
import torch

from modules.data.dataset import HeldOut
from modules.decoding.beam import BeamOptions
from modules.evaluation.decode import Decoding
from modules.evaluation.ranker import Ranker
from modules.evaluation.reranking import rank_of, rerank
from modules.evaluation.texts import generate_texts
from modules.loader.batches import BatchSize
from modules.loader.pieces import text_targets
from modules.loader.ragged import recent_histories
from utils.metrics.ranking import NOT_RANKED

USERS = np.arange(1, 5)
CATALOGUE = np.arange(1, 13)[None]


def ranker(model, trie, pieces, decoding=Decoding("exact")):  # noqa: B008  frozen
    return Ranker(model, trie, pieces.item_targets, decoding, show_progress=False)


def sequential(dataset, prompts, batch_size=3):
    histories = recent_histories(dataset, USERS, HeldOut.TEST)
    return prompts.sequential(USERS, histories, dataset.test_items, BatchSize(batch_size))


@pytest.mark.parametrize(
    "decoding", [Decoding("exact"), Decoding("best_first"), Decoding("beam", num_beams=12)]
)
def test_lists_hold_every_item_once(dataset, pieces, prompts, model, trie, decoding):
    samples = sequential(dataset, prompts)
    items, scores, _ = ranker(model, trie, pieces, decoding).rank(samples, CATALOGUE, 12)
    if decoding.method != "beam":
        assert (np.sort(items, axis=1) == CATALOGUE).all()
    for row, line in zip(items, scores):
        listed = row[row > 0]
        assert len(set(listed)) == len(listed)
        assert (np.diff(line[: len(listed)]) <= 0).all()
        assert (listed >= 1).all()
        assert (listed <= 12).all()


def test_batches_change_nothing(dataset, pieces, prompts, model, trie):
    one = ranker(model, trie, pieces).rank(sequential(dataset, prompts, 1), CATALOGUE, 12)
    all_ = ranker(model, trie, pieces).rank(sequential(dataset, prompts, 4), CATALOGUE, 12)
    np.testing.assert_allclose(one[1], all_[1], atol=1e-5)
    assert (one[0] == all_[0]).all()


def test_reranked_lists_never_hold_what_a_user_had(dataset, pieces, prompts, model, trie):
    samples = sequential(dataset, prompts)
    ranked = ranker(model, trie, pieces).rank(samples, CATALOGUE, 12)
    items, scores, _ = ranked
    had = dataset.had(USERS, HeldOut.TEST)
    short, short_scores, _ = rerank(ranked, had, 4)
    for row, (own, line) in enumerate(zip(had, short)):
        expected = [item for item in items[row] if item not in own][:4]
        assert line[line > 0].tolist() == expected
        kept = [s for item, s in zip(items[row], scores[row]) if item in expected]
        assert short_scores[row, : len(kept)].tolist() == kept


def test_direct_ranks_the_candidates(dataset, pieces, prompts, model, trie):
    rng = np.random.default_rng(0)
    candidates = np.stack([rng.permutation(12)[:6] + 1 for _ in USERS])
    samples = prompts.direct(USERS, candidates, candidates[:, 0], BatchSize(3))
    items, _, _ = ranker(model, trie, pieces).rank(samples, candidates, 10)
    assert (np.sort(items, axis=1) == np.sort(candidates, axis=1)).all()
    beams, _, _ = ranker(model, trie, pieces, Decoding("beam", 10)).rank(samples, candidates, 10)
    for row, line in enumerate(beams):
        assert set(line[line > 0]) <= set(candidates[row])


REPEATED = np.array([[5, 6, 7, 6, 8], [6, 4, 4, 4, 4], [3, 4, 5, 6, 10], [9, 1, 1, 2, 2]])
ONCE = [[5, 6, 7, 8], [6, 4], [3, 4, 5, 6, 10], [9, 1, 2]]


@pytest.mark.parametrize("decoding", [Decoding("exact"), Decoding("beam", num_beams=12)])
@pytest.mark.parametrize("length", [3, 5, 10])
def test_a_candidate_that_is_given_twice_is_ranked_once(
    dataset, pieces, prompts, model, trie, decoding, length
):
    """The prompt holds each mention; the lists are those of the different items alone."""
    samples = prompts.direct(USERS, REPEATED, REPEATED[:, 0], BatchSize(3))
    assert samples.samples.items.gather(np.array([1])).flat.tolist() == [6, 4, 4, 4, 4]
    lists = ranker(model, trie, pieces, decoding).rank(samples, REPEATED, length)
    for row, items in enumerate(ONCE):
        own = slice(row, row + 1)
        one = prompts.direct(USERS[own], REPEATED[own], REPEATED[own, 0], BatchSize(3))
        alone = ranker(model, trie, pieces, decoding).rank(one, np.array([items]), length)
        k = min(len(items), length)
        listed, scores = lists.items[row], lists.scores[row]
        if decoding.method == "exact":
            assert listed[:k].tolist() == alone.items[0, :k].tolist()
            np.testing.assert_allclose(scores[:k], alone.scores[0, :k], atol=1e-5)
        assert len(set(listed[listed > 0])) == (listed > 0).sum() <= k
        assert (listed[k:] == 0).all()
        assert np.isneginf(scores[k:]).all()


def test_a_repeated_candidate_with_added_scores(dataset, pieces, prompts, model, trie):
    class Added:
        def scores(self, rows):
            return np.tile(np.arange(13, dtype=np.float32)[None] * 100, (len(rows), 1))

    samples = prompts.direct(USERS, REPEATED, REPEATED[:, 0], BatchSize(3))
    lists = ranker(model, trie, pieces).rank(samples, REPEATED, 5, Added())
    for listed, items in zip(lists.items, ONCE):
        assert listed[listed > 0].tolist() == sorted(items, reverse=True)


def test_rank_of_by_hand():
    items = np.array([[4, 2, 9], [1, 0, 0], [5, 6, 7]])
    assert rank_of(items, np.array([9, 1, 8])).tolist() == [2, 0, NOT_RANKED]


def test_texts_are_transformers_and_in_order(dataset, prompts, model, tokenizer):
    records = dataset.explanations["train"]
    targets, _ = text_targets(tokenizer, records.texts, 20)
    samples = prompts.explanation(records.users, records.items, targets, BatchSize(2))
    options = BeamOptions(21, 14, 5, groups=3, early_stopping=True)

    def decode(rows):
        return tokenizer.batch_decode(rows, skip_special_tokens=True)

    texts, _ = generate_texts(model, samples, options, decode, show_progress=False)
    for rows, batch in samples:
        with torch.no_grad():
            embeds, mask = model.embed(batch)
            outside = model.t5.generate(
                inputs_embeds=embeds,
                attention_mask=mask,
                num_beams=7,
                max_new_tokens=14,
                min_new_tokens=5,
                early_stopping=True,
                do_sample=False,
            )
        assert [texts[r] for r in rows] == decode(outside.tolist())
