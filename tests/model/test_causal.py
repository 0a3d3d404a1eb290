"""Histories read from left to right: every item a target, and nothing known of what follows."""

import json

import numpy as np
import pytest
import torch

from modules.data.reader import load_dataset
from modules.loader.batches import BatchSize
from modules.loader.pieces import prompt_pieces
from modules.loader.prompts import Prompts
from modules.loader.ragged import recent_histories
from modules.loader.tokenizer import add_item_tokens, train_tokenizer
from modules.loader.training_stream import StepPlan, TrainingStream
from modules.loader.trie import build_trie
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.model.loss import ContinuationLoss
from modules.tasks import Task, WholeWords
from tests.conftest import HISTORIES, random_t5, write_folder


@pytest.fixture
def own_pieces(dataset):
    """Items are tokens of their own."""
    tokenizer = train_tokenizer(["it is nice and warm"])
    add_item_tokens(tokenizer, dataset.n_items)
    numbers = np.arange(dataset.n_items + 1)
    return prompt_pieces(tokenizer, dataset.n_users, numbers, own=True), len(tokenizer)


def causal_model(dataset, vocabulary, item_loss=None) -> ELMRec:
    config = ELMRecConfig(dataset.n_users, dataset.n_items, "pod", causal=True)
    torch.manual_seed(2)
    return ELMRec(random_t5(vocabulary), config, None, item_loss).eval()


def causal_prompts(pieces) -> Prompts:
    return Prompts(pieces, dict.fromkeys(Task, WholeWords.POSITION), causal=True)


def stream(dataset, pieces, size=BatchSize(4)):  # noqa: B008  frozen
    how = (StepPlan(size), np.random.default_rng(0))
    return TrainingStream(Task.SEQUENTIAL, dataset, causal_prompts(pieces), *how)


def first_batch(dataset, pieces):
    return next(stream(dataset, pieces)).batches[0]


def test_every_train_item_but_the_first_is_a_target_and_no_held_out_one(dataset, own_pieces):
    batch = first_batch(dataset, own_pieces[0])
    found = {}
    for (row, _), item in zip(batch.target_places.tolist(), batch.items.tolist()):
        found.setdefault(int(batch.users[row]), []).append(item)
    assert found == {user: row[1:-2] for user, row in HISTORIES.items()}


@pytest.mark.parametrize("own", [True, False])
def test_a_target_is_predicted_from_the_last_token_of_the_item_before_it(
    dataset, pieces, own_pieces, own
):
    pieces = own_pieces[0] if own else pieces
    batch = first_batch(dataset, pieces)
    for (row, place), item in zip(batch.target_places.tolist(), batch.items.tolist()):
        history = HISTORIES[int(batch.users[row])]
        before = history[history.index(item) - 1]
        mention = pieces.pieces.gather(pieces.item_rows(np.array([before]))).flat.tolist()
        assert batch.input_ids[row, place + 1 - len(mention) : place + 1].tolist() == mention
        nth = history.index(before) + 2  # the user's mention is the first
        assert batch.whole_word_ids[row, place] == nth


@pytest.mark.parametrize("loss", ["tokens", "continuations"])
def test_the_loss_of_a_pass_is_the_mean_over_prompts_of_each_prefix(dataset, own_pieces, loss):
    """A prompt that ends after an item predicts the next one as the whole history does."""
    pieces, vocabulary = own_pieces
    trie = build_trie(pieces.item_targets, pieces.pad)
    item_loss = ContinuationLoss(trie) if loss == "continuations" else None
    model, losses = causal_model(dataset, vocabulary, item_loss), []
    with torch.no_grad():
        together = model(first_batch(dataset, pieces))
        for user, history in HISTORIES.items():
            for end in range(1, len(history) - 2):
                users, held_out = np.array([user]), len(history) - end
                before = recent_histories(dataset, users, held_out)
                targets = dataset.targets(users, held_out)
                how = (users, before, targets, BatchSize(1))
                losses.append(model(causal_prompts(pieces).sequential(*how)[0][1]))
    torch.testing.assert_close(together, torch.stack(losses).mean(), rtol=1e-5, atol=1e-6)


def test_states_equal_transformers_encoder_under_the_same_mask(dataset, own_pieces):
    pieces, vocabulary = own_pieces
    model = causal_model(dataset, vocabulary)
    batch = first_batch(dataset, pieces)
    embeds, mask = model.embed(batch)
    n, k = embeds.shape[1], model.config.prompt_num
    seen = torch.ones(n, n, dtype=torch.bool).tril()
    seen[:k, :k] = True
    seen = seen & mask[:, None, None].bool()
    with torch.no_grad():
        theirs = model.t5.encoder(inputs_embeds=embeds, attention_mask=seen).last_hidden_state
        ours, ones = model.encode(batch)
    rows, places = batch.target_places.unbind(dim=1)
    torch.testing.assert_close(ours[:, 0], theirs[rows, places + k], rtol=1e-4, atol=1e-5)
    assert ones.shape == (len(rows), 1)
    assert ones.all()


def test_a_step_cut_in_two_adds_up_to_the_whole(dataset, own_pieces):
    """--batch_tokens: the targets of each part, and its share of the step."""
    pieces, vocabulary = own_pieces
    model = causal_model(dataset, vocabulary)
    found = []
    for tokens in (None, 12):
        step = next(stream(dataset, pieces, BatchSize(4, tokens)))
        with torch.no_grad():
            found.append(sum(model(b) * share for b, share in zip(step.batches, step.shares)))
        count = len(step.batches)
    assert count > 1
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_steps_hold_histories_of_like_length_and_a_pass_holds_all(tmp_path):
    folder = write_folder(tmp_path / "many")
    rng = np.random.default_rng(0)
    rows = [
        f"{u} " + " ".join(map(str, rng.permutation(12)[: rng.integers(4, 13)] + 1)) + "\n"
        for u in range(1, 65)
    ]
    (folder / "sequential.txt").write_text("".join(rows))
    (folder / "negative.txt").unlink()
    (folder / "explanation.json").unlink()
    maps = {"id2user": {str(u): f"U{u}" for u in range(1, 65)}}
    maps["id2item"] = {str(i): f"I{i}" for i in range(1, 13)}
    (folder / "datamaps.json").write_text(json.dumps(maps))
    dataset = load_dataset(folder)
    tokenizer = train_tokenizer(["warm"])
    pieces = prompt_pieces(tokenizer, 64, np.arange(13))
    steps = stream(dataset, pieces, BatchSize(8))
    users = [next(steps).batches[0].users.numpy() for _ in range(8)]
    assert sorted(np.concatenate(users)) == list(range(1, 65))
    spreads = [np.ptp(dataset.lengths[u - 1]) for u in users]
    assert np.mean(spreads) < np.ptp(dataset.lengths) / 2
