"""Fixtures: a data folder of a few users, a small random model, and where real data may lie."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

import pretrain
from modules.data.reader import load_dataset
from modules.loader.pieces import prompt_pieces
from modules.loader.prompts import Prompts
from modules.loader.tokenizer import train_tokenizer
from modules.loader.trie import build_trie
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.model.graph import normalized_adjacency
from modules.runs.record import RunRecord
from modules.runs.run import Run
from tests.faults import Place
from utils.runtime import Machine

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"  # real data, where a developer has them; never needed to run
HISTORIES = {1: [3, 1, 4, 2, 5], 2: [1, 2, 3, 6], 3: [7, 8, 9, 1, 2, 3], 4: [12, 11, 10, 9]}
N_ITEMS = 12


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}")
    return SHARED


def write_folder(folder: Path) -> Path:
    """A complete data folder of four users and twelve items."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{u} {' '.join(map(str, items))}\n" for u, items in HISTORIES.items()]
    (folder / "sequential.txt").write_text("".join(rows))
    free = {u: [i for i in range(1, N_ITEMS + 1) if i not in row] for u, row in HISTORIES.items()}
    rows = [f"{u} {' '.join(map(str, items[:5]))}\n" for u, items in free.items()]
    (folder / "negative.txt").write_text("".join(rows))
    maps = {
        "id2user": {str(u): f"U{u}" for u in HISTORIES},
        "id2item": {str(i): f"I{i}" for i in range(1, N_ITEMS + 1)},
    }
    (folder / "datamaps.json").write_text(json.dumps(maps))
    pairs = {"train": [(1, 3), (1, 5), (2, 1), (3, 7), (4, 12)], "val": [(2, 3)], "test": [(4, 9)]}
    records = {
        split: [
            {"user": u, "item": i, "explanation": f"item {i} is nice and warm", "feature": "warm"}
            for u, i in rows
        ]
        for split, rows in pairs.items()
    }
    (folder / "explanation.json").write_text(json.dumps(records))
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path / "few")


@pytest.fixture
def dataset(folder):
    return load_dataset(folder)


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(["it is nice and warm", "a bright lamp"])


@pytest.fixture
def pieces(dataset, tokenizer):
    return prompt_pieces(tokenizer, dataset.n_users, np.arange(dataset.n_items + 1))


@pytest.fixture
def prompts(pieces, model) -> Prompts:
    return Prompts(pieces, model.schemes)


@pytest.fixture
def trie(pieces):
    return build_trie(pieces.item_targets, pieces.pad)


def random_t5(vocab_size: int, seed: int = 0) -> T5ForConditionalGeneration:
    """A small T5 whose random weights are loud enough that probabilities differ."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=vocab_size,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    )
    t5 = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in t5.named_parameters():
            if "layer_norm" not in name:
                parameter.mul_(1.5)
    return t5


@pytest.fixture
def model(dataset, tokenizer) -> ELMRec:
    torch.manual_seed(1)
    graph = normalized_adjacency(dataset.train_pairs(), dataset.n_users, dataset.n_items)
    config = ELMRecConfig(dataset.n_users, dataset.n_items, alpha=2.0, sigma=1.5, graph_layers=2)
    return ELMRec(random_t5(len(tokenizer)), config, graph).eval()


@pytest.fixture
def run(dataset, tokenizer, prompts, model) -> Run:
    """A run of the model on the four users, as training would have made it."""
    numbers = np.arange(dataset.n_items + 1)
    arguments = {"seed": 0, "tasks": ["explanation", "sequential", "direct"], "item_ids": "random"}
    record = RunRecord.now(arguments, dataset.name, 0, 0)
    machine = Machine(torch.device("cpu"), "fp32")
    return Run(dataset.folder, record, dataset, tokenizer, numbers, prompts, model, machine)


# ---------------------------------------------------------------- folders to spoil: tests/faults.py


@pytest.fixture(scope="session")
def trained_in_process(tmp_path_factory) -> Path:
    """A folder with ``data`` and, of a run of two steps on it, ``run``."""
    base = tmp_path_factory.mktemp("faults")
    write_folder(base / "data")
    with pytest.MonkeyPatch.context() as patch:
        small = "--backbone tiny --batch_size 2 --negative_num 5 --max_steps 2 --checkpoint"
        patch.setattr(sys, "argv", ["", str(base / "data"), *small.split(), str(base / "run")])
        pretrain.main()
    return base


@pytest.fixture
def place(trained_in_process, tmp_path, monkeypatch) -> Place:
    shutil.copytree(trained_in_process, tmp_path / "at")
    return Place(tmp_path / "at" / "data", tmp_path / "at" / "run", monkeypatch)
