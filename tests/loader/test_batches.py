"""Prompts, samplers and streams."""

from pathlib import Path

import numpy as np
import pytest
import torch

from modules.data.dataset import HeldOut, RecDataset
from modules.data.negatives import NegativeSampler, shuffled_candidates
from modules.loader.batches import BatchSize, Samples, cut_by_length, make_batch
from modules.loader.prompts import Prompts
from modules.loader.ragged import Ragged, recent_histories
from modules.loader.training_stream import StepPlan, TrainingStream
from modules.tasks import MAX_HISTORY, Task, WholeWords
from utils.errors import UserError


def words_of(batch, tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(batch.input_ids[0].tolist())
    return list(zip(tokens, batch.whole_word_ids[0].tolist()))


def one(task, template, items, pieces, scheme):
    samples = Samples(np.array([2]), Ragged.of([items]), Ragged.of([[1]]), np.array([template]))
    return make_batch(task, samples, pieces, scheme)


def test_whole_word_ids_of_direct_by_hand(pieces, tokenizer):
    # Graph: user 2 is node 2; with four users, items 11 and 3 are nodes 15 and 7.
    batch = one(Task.DIRECT, 0, [11, 3], pieces, WholeWords.GRAPH)
    assert words_of(batch, tokenizer) == [
        ("▁user_", 2),
        ("2", 2),
        ("▁item_", 15),
        ("11", 15),
        ("▁item_", 7),
        ("3", 7),
        ("</s>", 0),
    ]


def test_whole_word_ids_of_sequential_by_hand(pieces, tokenizer):
    # "After {items} what will {user} choose?": the items come first, so they are mentions 1, 2.
    batch = one(Task.SEQUENTIAL, 3, [12, 4], pieces, WholeWords.POSITION)
    words = words_of(batch, tokenizer)
    mentions = [(t, w) for t, w in words if w]
    assert mentions == [
        ("▁item_", 1),
        ("12", 1),
        ("▁item_", 2),
        ("4", 2),
        ("▁user_", 3),
        ("2", 3),
    ]
    assert words[0][1] == 0
    assert words[-1] == ("</s>", 0)


def test_whole_word_ids_of_explanation_by_hand(pieces, tokenizer):
    batch = one(Task.EXPLANATION, 0, [5], pieces, WholeWords.GRAPH)
    assert words_of(batch, tokenizer) == [
        ("▁user_", 2),
        ("2", 2),
        ("▁item_", 9),
        ("5", 9),
        ("</s>", 0),
    ]
    batch = one(Task.EXPLANATION, 0, [5], pieces, WholeWords.POSITION)
    assert [w for _, w in words_of(batch, tokenizer)] == [1, 1, 2, 2, 0]


def test_a_batch_pads_its_rows(pieces):
    samples = Samples(
        np.array([1, 2]), Ragged.of([[1, 2, 3], [4]]), Ragged.of([[7, 1], [1]]), np.array([0, 0])
    )
    batch = make_batch(Task.DIRECT, samples, pieces, WholeWords.GRAPH)
    assert batch.attention_mask.sum(dim=1).tolist() == [9, 5]
    assert batch.input_ids[1, 5:].tolist() == [pieces.pad] * 4
    assert batch.whole_word_ids[1, 5:].tolist() == [0] * 4
    assert batch.labels.tolist() == [[7, 1], [1, -100]]


def stream(task, dataset, pieces, seed, size=BatchSize(2), **plan):  # noqa: B008  frozen
    negatives = NegativeSampler(dataset, 4) if task is Task.DIRECT else None
    prompts = Prompts(pieces, dict.fromkeys(Task, WholeWords.POSITION))
    rng = np.random.default_rng(seed)
    return TrainingStream(task, dataset, prompts, StepPlan(size, **plan), rng, negatives)


def next_batch(samples):
    step = next(samples)
    assert step.shares == [1.0]
    return step.batches[0]


@pytest.mark.parametrize("task", [Task.SEQUENTIAL, Task.DIRECT])
def test_a_stream_is_what_its_seed_says(task, dataset, pieces):
    first, second = stream(task, dataset, pieces, 5), stream(task, dataset, pieces, 5)
    np.random.rand(10)  # noqa: NPY002  what was drawn elsewhere changes nothing
    torch.rand(10)
    other = stream(task, dataset, pieces, 6)
    same = []
    for _ in range(6):
        a, b, c = next_batch(first), next_batch(second), next_batch(other)
        for x, y in zip(a[1:], b[1:]):
            assert x is y is None or torch.equal(x, y)
        same.append(torch.equal(a.input_ids, c.input_ids))
    assert not all(same)


def test_a_pass_sees_every_user_once(dataset, pieces):
    samples = stream(Task.SEQUENTIAL, dataset, pieces, 0)
    for _ in range(3):
        seen = torch.cat([next_batch(samples).users for _ in range(samples.steps_per_pass)])
        assert sorted(seen.tolist()) == [1, 2, 3, 4]


def numbers_in(batch, row, tokenizer):
    text = tokenizer.decode(batch.input_ids[row], skip_special_tokens=True)
    return [int(w.removeprefix("item_")) for w in text.split() if w.startswith("item_")]


def test_sequential_samples_are_stretches_of_train_items(dataset, pieces, tokenizer):
    samples = stream(Task.SEQUENTIAL, dataset, pieces, 0)
    ends = set()
    for _ in range(200):
        batch = next_batch(samples)
        for row, user in enumerate(batch.users.tolist()):
            label = batch.labels[row]
            target = int(tokenizer.decode(label[label >= 0], skip_special_tokens=True))
            stretch = [*numbers_in(batch, row, tokenizer), target]
            train = dataset.history(user)[:-2].tolist()
            assert len(stretch) >= 2
            at = train.index(stretch[0])
            assert train[at : at + len(stretch)] == stretch
            ends.add((user, stretch[0], target))
    assert {(3, 7, 8), (3, 7, 9), (3, 7, 1), (3, 8, 9), (3, 8, 1), (3, 9, 1)} <= ends


def test_long_histories_keep_their_last_items(dataset):
    users = np.array([1, 3])
    test = recent_histories(dataset, users, HeldOut.TEST)
    assert test.gather(np.array([0])).flat.tolist() == [3, 1, 4, 2]
    valid = recent_histories(dataset, users, HeldOut.VALIDATION)
    assert valid.gather(np.array([1])).flat.tolist() == [7, 8, 9, 1]
    assert max(test.lengths) <= MAX_HISTORY


def test_direct_samples_hold_one_train_item_and_never_had_others(dataset, pieces, tokenizer):
    samples = stream(Task.DIRECT, dataset, pieces, 0)
    for _ in range(100):
        batch = next_batch(samples)
        for row, user in enumerate(batch.users.tolist()):
            shown = numbers_in(batch, row, tokenizer)
            label = batch.labels[row]
            target = int(tokenizer.decode(label[label >= 0], skip_special_tokens=True))
            assert len(set(shown)) == len(shown) == 5
            assert target in dataset.history(user)[:-2]
            assert set(shown) & set(dataset.history(user).tolist()) == {target}


@pytest.mark.parametrize("n_items", [40, 4000])
def test_negatives_are_uniform_and_without_repeats(n_items):
    history, ends = np.array([3, 7, 3, 7], dtype=np.int32), np.array([0, 4])  # user 1's
    items = ("", *map(str, range(n_items)))
    one = RecDataset("one", Path("one"), ("", "U"), items, history, ends, None, None, {})
    sampler = NegativeSampler(one, 20)
    drawn = sampler.draw(np.ones(4000, dtype=np.int64), np.random.default_rng(0))
    assert drawn.shape == (4000, 20)
    assert not np.isin(drawn, [3, 7]).any()
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    counts = np.bincount(drawn.ravel(), minlength=n_items + 1)
    counts = np.delete(counts[1:], [2, 6])
    expected = drawn.size / (n_items - 2)
    # 5 standard deviations of a binomial count
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_too_many_negatives_name_the_largest_number(dataset):
    with pytest.raises(UserError, match=r"--negative_num 7: .* between 1 and 6 negatives"):
        NegativeSampler(dataset, 7)
    NegativeSampler(dataset, 6)


def test_one_user_with_all_items_is_told_from_the_others():
    """User 1 had all ten items, the others four of them."""
    items = [*range(1, 11), *([1, 2, 3, 4] * 19)]
    ends = np.cumsum([0, 10, *[4] * 19])
    names = ("", *map(str, range(20))), ("", *map(str, range(10)))
    data = RecDataset("x", Path("x"), *names, np.array(items, np.int32), ends, None, None, {})
    with pytest.raises(UserError) as error:
        NegativeSampler(data, 99)
    assert "the data have 10 items, and user '0' had 10 of them" in str(error.value)
    assert "users without an item left: 1). Give --negative_num 6 or less" in str(error.value)
    with pytest.raises(UserError, match=r"left: 1\)\. Leave such users out of the data, or keep"):
        NegativeSampler(data, 5)


@pytest.mark.parametrize("task", [Task.SEQUENTIAL, Task.DIRECT])
@pytest.mark.parametrize("tokens", [None, 12])
def test_processes_and_accumulation_deal_out_the_same_step(task, tokens, dataset, pieces):
    """Four samples in one batch, or one a batch over two processes: the same rows, in order, and
    the shares of the target tokens add up to one."""
    whole = next(stream(task, dataset, pieces, 3, BatchSize(4))).batches[0]
    users, shares = [], 0.0
    for rank in range(2):
        plan = {"accumulate": 2, "rank": rank, "world_size": 2}
        step = next(stream(task, dataset, pieces, 3, BatchSize(1, tokens), **plan))
        assert len(step.batches) == 2
        for batch, share in zip(step.batches, step.shares):
            row = len(users)
            length = int(batch.attention_mask.sum())
            assert torch.equal(batch.input_ids[0, :length], whole.input_ids[row, :length])
            counted = (batch.labels >= 0).sum() / (whole.labels >= 0).sum()
            assert share == pytest.approx(counted.item())
            users += batch.users.tolist()
            shares += share
    assert users == whole.users.tolist()
    assert shares == pytest.approx(1.0)


def test_a_token_limit_cuts_batches_and_loses_no_sample(dataset, pieces):
    step = next(stream(Task.DIRECT, dataset, pieces, 0, BatchSize(4, 30)))
    assert len(step.batches) > 1
    assert sorted(u for b in step.batches for u in b.users.tolist()) == [1, 2, 3, 4]
    assert all(b.input_ids.numel() <= 30 or len(b.users) == 1 for b in step.batches)


def test_cut_by_length_by_hand():
    lengths = np.array([5, 3, 5, 5, 2, 3, 5, 5])
    # Lengths 5 5 5 5 | 5 3 3 (half full at the first 3, and 2 is another length) | 2
    batches = [b.tolist() for b in cut_by_length(lengths, BatchSize(4))]
    assert batches == [[0, 2, 3, 6], [7, 1, 5], [4]]
    assert [b.tolist() for b in cut_by_length(lengths, BatchSize(8, 10))][:2] == [[0, 2], [3, 6]]


def test_prompts_are_padded_to_a_multiple(dataset, pieces):
    plain = next_batch(stream(Task.DIRECT, dataset, pieces, 0))
    padded = next_batch(stream(Task.DIRECT, dataset, pieces, 0, pad_to=16))
    assert padded.input_ids.shape[1] % 16 == 0
    assert padded.input_ids.shape[1] - plain.input_ids.shape[1] < 16
    assert torch.equal(padded.attention_mask.sum(1), plain.attention_mask.sum(1))


def test_a_batch_larger_than_the_list_is_refused(dataset, pieces):
    with pytest.raises(UserError, match="--batch_size 5 is more than the 4"):
        stream(Task.SEQUENTIAL, dataset, pieces, 0, BatchSize(5))


def test_candidates_are_shuffled():
    rng = np.random.default_rng(0)
    mixed = shuffled_candidates(np.full(3000, 9), np.tile(np.arange(4), (3000, 1)), rng)
    assert (np.sort(mixed, axis=1) == [0, 1, 2, 3, 9]).all()
    places = np.bincount(np.argmax(mixed == 9, axis=1), minlength=5)
    assert np.abs(places - 600).max() < 5 * np.sqrt(600)
