"""Pieces side by side are what the tokenizer makes of the whole text; the trie holds all items."""

import numpy as np
import pytest

from modules.data.protocols import item_numbers
from modules.data.reader import load_dataset
from modules.loader.batches import Samples, make_batch
from modules.loader.pieces import prompt_pieces, render, text_targets
from modules.loader.ragged import Ragged
from modules.loader.tokenizer import load_tokenizer, train_tokenizer
from modules.loader.trie import build_trie
from modules.tasks import TEMPLATES, Task, WholeWords


def assert_prompts_equal_tokenizer(tokenizer, n_users: int, numbers: np.ndarray, rounds: int):
    rng = np.random.default_rng(0)
    pieces = prompt_pieces(tokenizer, n_users, numbers)
    n_items = len(numbers) - 1
    for number in range(rounds):
        task = Task(number % len(Task))
        template = int(rng.integers(len(TEMPLATES[task])))
        user = int(rng.integers(1, n_users + 1))
        items = rng.integers(1, n_items + 1, size=1 if task == 0 else rng.integers(1, 101))
        samples = Samples(
            np.array([user]), Ragged.of([items]), Ragged.of([[1]]), np.array([template])
        )
        batch = make_batch(task, samples, pieces, WholeWords.GRAPH)
        text = render(TEMPLATES[task][template], user, numbers[items].tolist())
        assert batch.input_ids[0].tolist() == tokenizer(text)["input_ids"], text
        assert batch.attention_mask.all()


def test_prompts_equal_own_tokenizer():
    tokenizer = train_tokenizer(["good for dry hair"])
    numbers = item_numbers("random", 3000, np.random.default_rng(1))
    assert_prompts_equal_tokenizer(tokenizer, 5000, numbers, 200)


def test_prompts_equal_t5_tokenizer_on_1000_prompts(shared):
    tokenizer = load_tokenizer(shared / "t5-small")
    numbers = item_numbers("random", 12101, np.random.default_rng(2))
    assert_prompts_equal_tokenizer(tokenizer, 22363, numbers, 1000)


def test_t5_splits_a_mention_as_known(shared):
    tokenizer = load_tokenizer(shared / "t5-small")
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("user_12252")["input_ids"])
    assert tokens == ["▁user", "_", "122", "52", "</s>"]


def test_item_targets_are_numbers_with_end_mark(tokenizer):
    numbers = np.array([0, 12, 345, 6])
    pieces = prompt_pieces(tokenizer, 2, numbers)
    for item in (1, 2, 3):
        row = pieces.item_targets.gather(np.array([item])).flat.tolist()
        assert row == tokenizer(str(numbers[item]))["input_ids"]


def test_explanations_are_cut_and_references_follow(tokenizer):
    targets, references = text_targets(tokenizer, ["a bright lamp is nice", "warm"], 3)
    assert targets.lengths.tolist() == [3, 2]  # what is cut has no end mark, as published
    assert targets.gather(np.array([1])).flat[-1] == tokenizer.eos_token_id
    assert references[0] == tokenizer.decode(tokenizer("a bright lamp")["input_ids"][:-1])
    assert references[1] == "warm"


def test_training_a_tokenizer_gives_the_same_again():
    texts = ["soft and warm", "a very bright lamp 12"]
    assert train_tokenizer(texts).get_vocab() == train_tokenizer(texts).get_vocab()


# ------------------------------------------------------------------------------------- trie


def walk(targets: Ragged) -> dict[tuple, set]:
    """The trie as a plain dictionary: prefix -> continuations."""
    trie: dict[tuple, set] = {}
    for a, b in zip(targets.starts[1:-1], targets.starts[2:]):
        row = tuple(targets.flat[a:b].tolist())
        for t in range(len(row)):
            trie.setdefault(row[:t], set()).add(row[t])
    return trie


def test_trie_equals_a_plain_one(tokenizer):
    numbers = item_numbers("random", 500, np.random.default_rng(3))
    targets = prompt_pieces(tokenizer, 1, numbers).item_targets
    trie, plain = build_trie(targets, start_token=0), walk(targets)
    prefix = {0: ()}
    for node in range(1, len(trie.tokens)):
        parent = int(trie.parents[node])
        assert parent < node
        prefix[node] = (*prefix[parent], int(trie.tokens[node]))
        assert trie.depths[node] == len(prefix[node])
    assert set(prefix.values()) == set(plain)
    for item in range(1, 501):
        row = targets.gather(np.array([item])).flat.tolist()
        assert trie.vocabulary[trie.columns[item, : len(row)]].tolist() == row
        assert [prefix[n] for n in trie.paths[item, : len(row)]] == [
            tuple(row[:t]) for t in range(len(row))
        ]
        assert (trie.paths[item, len(row) :] == -1).all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "branching"), [("beauty", 153), ("sports", 288)])
def test_branching_prefixes_of_real_catalogues(shared, name, branching):
    dataset = load_dataset(shared / "data" / name)
    numbers = np.arange(dataset.n_items + 1)
    targets = prompt_pieces(load_tokenizer(shared / "t5-small"), 1, numbers).item_targets
    assert sum(len(c) > 1 for c in walk(targets).values()) == branching
    assert build_trie(targets, 0).paths.shape[1] == 4
