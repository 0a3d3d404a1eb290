"""``--decode published`` against what the authors' own code returned for a model of its own."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from modules.data.dataset import RecDataset
from modules.evaluation.decode import Decoding
from modules.evaluation.published import PublishedSearch
from modules.evaluation.ranker import Ranker
from modules.evaluation.texts import generate_texts, text_beams
from modules.loader.batches import Batch
from modules.loader.pieces import prompt_pieces
from modules.loader.tokenizer import load_tokenizer
from modules.loader.trie import build_trie
from modules.released.convert import import_model
from modules.released.reader import read_released
from modules.tasks import Task
from tests.conftest import SHARED

USERS, ITEMS = 19_412, 11_924


class Prompts:
    """The prompts of a task in batches of their order, as an ``EvaluationSet`` gives them."""

    def __init__(self, task: Task, prompts: list[dict], size: int) -> None:
        self.task, self._prompts, self._size = task, prompts, size
        self.users = np.array([prompt["user"] for prompt in prompts])

    def __len__(self) -> int:
        return -(-len(self._prompts) // self._size)

    def __getitem__(self, n: int) -> tuple[np.ndarray, Batch]:
        rows = np.arange(len(self._prompts))[n * self._size : (n + 1) * self._size]
        longest = max(len(self._prompts[row]["input_ids"]) for row in rows)

        def padded(key: str) -> torch.Tensor:
            lines = [self._prompts[row][key] for row in rows]
            return torch.tensor([line + [0] * (longest - len(line)) for line in lines])

        ids = padded("input_ids")
        mask = (ids != 0).long()
        words, users = padded("whole_word_ids"), torch.from_numpy(self.users[rows])
        return rows, Batch(self.task, ids, mask, words, ids[:, :1], users)


@pytest.fixture(scope="module")
def parity():
    folder = SHARED / "parity"
    if not folder.is_dir():
        pytest.skip(f"no answers of the published code at {folder}")
    users, items = (("", *(str(n) for n in range(1, count + 1))) for count in (USERS, ITEMS))
    histories = np.tile(np.arange(1, 5, dtype=np.int32), USERS)
    dataset = RecDataset(
        "toys", folder, users, items, histories, np.arange(USERS + 1) * 4, None, None, {}
    )
    model = import_model(read_released(folder / "solomon-small.pt"), dataset, None, None).model
    tokenizer = load_tokenizer(SHARED / "t5-small")
    return SimpleNamespace(
        model=model,
        tokenizer=tokenizer,
        tasks=json.loads((folder / "expected.json").read_text())["tasks"],
    )


def decoder_of(tokenizer):
    return lambda rows: tokenizer.batch_decode(rows, skip_special_tokens=True)


@pytest.mark.parametrize("task", [Task.SEQUENTIAL, Task.DIRECT])
def test_every_sequence_is_the_published_one(parity, task):
    asked = parity.tasks[task.label]
    numbers = np.arange(ITEMS + 1)
    targets = prompt_pieces(parity.tokenizer, USERS, numbers).item_targets
    beams, k = asked["num_beams"], asked["num_return_sequences"]
    decoding = Decoding("published", beams)
    ranker = Ranker(parity.model, build_trie(targets, 0), targets, decoding, show_progress=False)
    returned, plain = [], decoder_of(parity.tokenizer)

    def decode(rows):
        returned.extend(rows)
        return plain(rows)

    ranker.published = PublishedSearch(decode, {n: n for n in range(1, ITEMS + 1)}, beams)
    samples = Prompts(task, asked["prompts"], 16)
    ranked = ranker.rank(samples, numbers[None, 1:], k)
    expected = [row for prompt in asked["prompts"] for row in prompt["tokens"]]
    expected_texts = [text for prompt in asked["prompts"] for text in prompt["texts"]]

    def bare(row):
        return row[: row.index(1) + 1] if 1 in row else row

    assert len(returned) == len(expected) == 60 * k
    assert [bare(row) for row in returned] == [bare(row[1:]) for row in expected]
    assert plain(returned) == expected_texts
    for line, prompt in zip(ranked.items, asked["prompts"]):
        words = [text.split(" ")[0] for text in prompt["texts"]]
        if task is Task.SEQUENTIAL:  # there, what is no number is left out
            words = [word for word in words if word.isdigit()]
        places = [int(word) if word.isdigit() else -1 for word in words]
        ours = [place if n != -1 else -1 for n, place in zip(line.tolist(), places)]
        assert line.tolist()[: len(places)] == ours
        lost = [place for n, place in zip(line.tolist(), places) if n == -1]
        assert all(not 0 < place <= ITEMS or place in line for place in lost)
    assert ranker.published.misses.sequences == 60 * k


def test_every_text_is_the_published_one(parity):
    asked = parity.tasks["explanation"]
    options = text_beams(asked["num_beams"], asked["num_beam_groups"], 0.0, asked["min_length"])
    samples = Prompts(Task.EXPLANATION, asked["prompts"], 16)
    texts, _ = generate_texts(
        parity.model, samples, options, decoder_of(parity.tokenizer), show_progress=False
    )
    assert texts == [prompt["text"] for prompt in asked["prompts"]]


def test_a_masked_decoder_gives_others(parity):
    """The pads are what makes the difference: without them most lists are others."""
    asked = parity.tasks["explanation"]
    options = text_beams(asked["num_beams"], asked["num_beam_groups"], 0.0, asked["min_length"])
    samples = Prompts(Task.EXPLANATION, asked["prompts"], 16)
    model = parity.model
    before, model.config = model.config, replace(model.config, decoder_sees_pads=False)
    try:
        texts, _ = generate_texts(
            model, samples, options, decoder_of(parity.tokenizer), show_progress=False
        )
    finally:
        model.config = before
    assert texts != [prompt["text"] for prompt in asked["prompts"]]
