"""How cost grows with the catalogue and the interactions, on made-up sets.

    python -m benchmarks.scale_parts --items 10000,100000,1000000

Ten interactions a user, as many users as items: a million items are ten million interactions.
Every row is measured in a process of its own. benchmarks/SCALING.md draws the conclusions.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks.made_up import make_set
from benchmarks.measure import features, print_table
from benchmarks.memory import peak_memory_gb
from modules.data.reader import load_dataset
from modules.decoding.best_first import branches, count_prefixes, rank_best_first
from modules.decoding.exact import prefix_tree, rank_exact
from modules.evaluation.decode import MAX_PREFIXES
from modules.loader.pieces import prompt_pieces
from modules.loader.tokenizer import load_tokenizer, train_tokenizer
from modules.loader.trie import build_trie
from modules.model.decoder import PrefixDecoder
from modules.model.graph import normalized_adjacency, propagate
from modules.presets import BACKBONES
from utils.runtime import pick_device

PER_USER = 10
USERS_A_BATCH = 16


def loading(folder: str, n_items: int) -> dict[str, Any]:
    """Read and check the data folder."""
    started = time.perf_counter()
    dataset = load_dataset(folder)
    return {"interactions": len(dataset.items), "load s": time.perf_counter() - started}


def trie_and_decoding(folder: str, n_items: int, tokenizer_folder: str | None) -> dict[str, Any]:
    """Tokenise the catalogue, build the trie, and rank for a batch of random users."""
    tokenizer = load_tokenizer(tokenizer_folder) if tokenizer_folder else train_tokenizer(["a b"])
    pick_device(False)
    started = time.perf_counter()
    targets = prompt_pieces(tokenizer, 1, np.arange(n_items + 1)).item_targets
    tokenised = time.perf_counter()
    trie = build_trie(targets, 0)
    built = time.perf_counter()
    size = sum(array.nbytes for array in trie) / 2**30
    tree, prefixes = branches(trie), count_prefixes(trie)
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, **BACKBONES["mini"])
    t5 = T5ForConditionalGeneration(config).eval()
    states = torch.randn(USERS_A_BATCH, 60, config.d_model)
    mask = torch.ones(USERS_A_BATCH, 60, dtype=torch.long)
    vocabulary = torch.from_numpy(trie.vocabulary)

    def timed(work: Callable) -> float:
        with torch.inference_mode():
            work()
            began = time.perf_counter()
            work()
        return (time.perf_counter() - began) / USERS_A_BATCH

    def fresh() -> PrefixDecoder:
        return PrefixDecoder(t5, states, mask, trie.paths.shape[1])

    row = {
        "tokenise s": tokenised - started,
        "trie s": built - tokenised,
        "trie GB": size,
        "prefixes": prefixes,
        "best-first s/user": timed(lambda: rank_best_first(fresh(), tree, vocabulary, 10)),
        "one pass s/user": "-",
    }
    if prefixes <= MAX_PREFIXES:
        everything = prefix_tree(trie, np.arange(1, n_items + 1)[None])
        row["one pass s/user"] = timed(
            lambda: rank_exact(fresh(), everything, vocabulary).topk(10, dim=1)
        )
    return row


def propagation(folder: str, n_items: int, width: int) -> dict[str, Any]:
    """Forward and backward of four layers, once a training step."""
    pick_device(False)
    dataset = load_dataset(folder)
    graph = normalized_adjacency(dataset.train_pairs(), dataset.n_users, dataset.n_items)
    features = torch.randn(len(graph.crow) - 1, width, requires_grad=True)
    ones = torch.ones(len(features), width)
    propagate(features, graph, 4).backward(ones)
    started = time.perf_counter()
    propagate(features, graph, 4).backward(ones)
    return {f"propagation s/step (D {width})": time.perf_counter() - started}


def _measure(pipe, work: Callable, arguments: tuple) -> None:
    row = work(*arguments)
    pipe.send(row | {"peak GB": peak_memory_gb()})


def in_own_process(work: Callable, *arguments: Any) -> dict[str, Any]:
    """The row that ``work`` returns, and its process's peak memory."""
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    process = context.Process(target=_measure, args=(far_end, work, arguments))
    process.start()
    far_end.close()
    row = pipe.recv()
    process.join()
    return row


def main() -> None:
    """One table a subject."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", default="10000,100000,1000000", help="catalogue sizes")
    parser.add_argument("--tokenizer", help="folder of a tokenizer; default: a built-in one")
    parser.add_argument("--width", type=int, default=64, help="D of the propagated table")
    args = parser.parse_args()
    print(features(), flush=True)
    subjects = {
        "Loading": (loading, ()),
        "Trie and decoding (mini, random weights)": (trie_and_decoding, (args.tokenizer,)),
        "Propagation, forward and backward": (propagation, (args.width,)),
    }
    tables: dict[str, list[dict]] = {title: [] for title in subjects}
    with tempfile.TemporaryDirectory() as root:
        for n_items in map(int, args.items.split(",")):
            folder = Path(root) / f"made-up-{n_items}"
            make_set(folder, n_items, n_items, PER_USER * n_items)
            for title, (work, more) in subjects.items():
                row = in_own_process(work, str(folder), n_items, *more)
                tables[title].append({"items": n_items} | row)
    for title, rows in tables.items():
        print_table(title, list(rows[0]), [list(row.values()) for row in rows])


if __name__ == "__main__":
    main()
