"""The parts of a run put together: data, numbering, tokens, model; new, or read from its folder.

The scripts start here. What a run's folder says of the data set and of the item numbers is held
against the data folder, so that a model is never evaluated on something else unnoticed.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from modules.data.cooccurrence import collaborative_numbers, cooccurrence_vectors
from modules.data.dataset import RecDataset, TrainView, item_numbers
from modules.data.negatives import NegativeSampler
from modules.data.reader import load_dataset
from modules.loader.pieces import (
    ItemTrie,
    PromptPieces,
    Ragged,
    add_item_tokens,
    build_trie,
    check_vocabulary,
    load_tokenizer,
    prompt_pieces,
    text_targets,
)
from modules.loader.training_stream import StepPlan, TrainSampler
from modules.model.backbone import build_backbone
from modules.model.elmrec import ELMRec, ELMRecConfig
from modules.model.graph import normalized_adjacency
from modules.randomness import Stream, rng
from modules.runs.folder import (
    check_data,
    check_files,
    read_numbers,
    read_run,
    warn_of_versions,
    write_run,
)
from modules.runs.model_card import write_model_card
from modules.tasks import Task, WholeWords, schemes
from utils import distributed
from utils.errors import UserError
from utils.runtime import Machine, seed_everything

# Of co-occurrence vectors, beside tokens that are drawn at random: a step changes less of what they
# know. From 1 to 6 was tried (benchmarks/EXPERIMENTS.md).
LOUDER = 3.0


class Experiment(NamedTuple):
    """Everything that training and evaluation share."""

    dataset: RecDataset
    tokenizer: PreTrainedTokenizerBase
    pieces: PromptPieces
    numbers: np.ndarray  # (I + 1,) the number by which an item is written
    model: ELMRec
    device: torch.device
    precision: str
    seed: int

    def autocast(self) -> AbstractContextManager:
        """The precision of a forward pass."""
        return Machine(self.device, self.precision).autocast()

    def scheme(self, task: Task) -> WholeWords:
        """The task's whole-word ids."""
        return self.model.schemes[task]

    def causal(self, task: Task) -> bool:
        """Whether the task's prompts are read from left to right."""
        return self.model.config.causal and task is Task.SEQUENTIAL

    def trie(self) -> ItemTrie:
        """The trie over all item numbers."""
        return build_trie(self.pieces.item_targets, self.model.t5.config.decoder_start_token_id)

    def targets(self, split: str, max_tokens: int) -> tuple[Ragged, list[str]]:
        """Explanation targets of a split, and the texts that they stand for."""
        return text_targets(self.tokenizer, self.dataset.explanations[split].texts, max_tokens)


def tasks_of(dataset: RecDataset, names: Sequence[str]) -> list[Task]:
    """The tasks asked for; UserError where the data set has no explanations for one."""
    tasks = [Task[name.upper()] for name in names]
    if Task.EXPLANATION in tasks and dataset.explanations is None:
        raise UserError(
            f"{dataset.folder}: no explanation.json, which the explanation task needs. "
            "Pass --tasks sequential,direct to train without it."
        )
    return tasks


# -------------------------------------------------------------------------------------- new


def new_experiment(
    dataset: RecDataset,
    view: TrainView,
    *,
    item_ids: str,
    item_vectors: str = "random",
    backbone: str,
    from_scratch: bool,
    dropout: float | None = None,
    method: str,
    prompt_num: int,
    alpha: float,
    sigma: float,
    graph_layers: int,
    causal: bool = False,
    whole_words: dict[str, str] | None = None,
    device: torch.device,
    precision: str,
    seed: int,
) -> Experiment:
    """A fresh model for a data set; everything random comes from ``seed``."""
    seed_everything(seed)
    if item_ids == "collaborative":
        numbers = collaborative_numbers(dataset)
    else:
        numbers = item_numbers(item_ids, dataset.n_items, rng(seed, Stream.ITEM_NUMBERS))
    texts = view.explanations.texts if view.explanations is not None else ()
    t5, tokenizer = build_backbone(backbone, from_scratch, texts, dropout)
    if item_ids == "own":
        vectors = item_vectors == "cooccurrence"
        give_own_tokens(t5, tokenizer, numbers, dataset if vectors else None)
    config = ELMRecConfig(
        dataset.n_users,
        dataset.n_items,
        method,
        prompt_num,
        alpha,
        sigma,
        graph_layers,
        causal,
        whole_words or {},
    )
    graph = None
    if WholeWords.GRAPH in schemes(method, config.whole_words).values():
        graph = normalized_adjacency(view.edges, dataset.n_users, dataset.n_items)
    model = ELMRec(t5, config, graph).to(device)
    if distributed.rank():  # the same weights on every rank, but dropout of its own
        torch.manual_seed(seed + distributed.rank())
    pieces = prompt_pieces(tokenizer, dataset.n_users, numbers, item_ids == "own")
    return Experiment(dataset, tokenizer, pieces, numbers, model, device, precision, seed)


def give_own_tokens(
    t5: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    numbers: np.ndarray,
    dataset: RecDataset | None,
) -> None:
    """Add a token for every item. Its embedding is as loud as the other tokens', and drawn at
    random; or, where a dataset is given, the item's co-occurrence vector, ``LOUDER`` times that."""
    tokens = add_item_tokens(tokenizer, len(numbers) - 1)[numbers[1:] - 1]  # (I,) by item
    scale = t5.shared.weight.std().item()
    if len(tokenizer) > t5.config.vocab_size:
        t5.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rows = torch.randn(len(tokens), t5.config.d_model)
    if dataset is not None:
        rows = torch.from_numpy(cooccurrence_vectors(dataset, t5.config.d_model))
        rows *= LOUDER / rows.std()
    with torch.no_grad():
        t5.shared.weight[tokens] = rows * scale


def training_samplers(
    experiment: Experiment,
    view: TrainView,
    tasks: list[Task],
    plan: StepPlan,
    negative_num: int,
    exp_len: int,
) -> dict[Task, TrainSampler]:
    """An endless stream of training steps for each task."""
    dataset, pieces = experiment.dataset, experiment.pieces
    samplers = {}
    for task in tasks:
        parts: dict[str, Any] = {}
        if task is Task.EXPLANATION:
            records = view.explanations
            targets, _ = text_targets(experiment.tokenizer, records.texts, exp_len)
            parts["records"] = (records.users, records.items, targets)
        elif task is Task.DIRECT:
            parts["negatives"] = NegativeSampler(dataset, negative_num)
        parts["causal"] = experiment.causal(task)
        generator = rng(experiment.seed, Stream.TRAIN + task)
        samplers[task] = TrainSampler(
            task, dataset, pieces, experiment.scheme(task), plan, generator, **parts
        )
    return samplers


def spread(total: int, limit: int | None) -> np.ndarray:
    """0..total-1, or ``limit`` of them evenly spread."""
    if limit is None or limit >= total:
        return np.arange(total)
    return np.linspace(0, total - 1, limit).astype(np.int64)


# ---------------------------------------------------------------------------------- the folder


def save_run(experiment: Experiment, folder: Path, run: dict[str, Any]) -> None:
    """Write what evaluation needs beside the model: tokenizer, numbering, the run's record."""
    write_run(folder, run, experiment.dataset, experiment.tokenizer, experiment.numbers)
    write_model_card(folder)


def open_experiment(
    folder: str | Path,
    data_dir: str | Path,
    device: torch.device,
    precision: str,
    optional: Sequence[str] = (),
) -> tuple[Experiment, dict[str, Any]]:
    """Read a run's folder, and the data folder that it was trained on.

    Args:
        folder, data_dir, device, precision: where and how.
        optional: the optional data files that are read on, and must be those of training.

    Returns:
        the experiment and the run's record.

    Raises:
        UserError: where the folder is missing or damaged, or the data or tokenizer are others.
    """
    folder = Path(folder)
    run = read_run(folder)
    dataset = load_dataset(data_dir)
    check_data(folder, run, dataset, optional)
    check_files(folder, run)
    numbers = read_numbers(folder, dataset.n_items)
    model = ELMRec.from_pretrained(folder).to(device)
    own = (model.config.n_users, model.config.n_items)
    if own != (dataset.n_users, dataset.n_items):
        raise UserError(
            f"{folder}: a model of {own[0]} users and {own[1]} items; {dataset.folder} has "
            f"{dataset.n_users} and {dataset.n_items}. The folder holds files of several runs."
        )
    tokenizer = load_tokenizer(folder)
    check_vocabulary(str(folder), tokenizer, model.t5.config.vocab_size)
    warn_of_versions(run)
    own = run["arguments"]["item_ids"] == "own"
    pieces = prompt_pieces(tokenizer, dataset.n_users, numbers, own)
    opened = Experiment(
        dataset, tokenizer, pieces, numbers, model, device, precision, run["arguments"]["seed"]
    )
    return opened, run


def describe_view(dataset: RecDataset, view: TrainView, protocol: str) -> str:
    """One line on what the protocol lets training see."""
    line = f"protocol {protocol}: {view.edges.shape[1]:,} edges in the graph"
    if view.explanations is not None:
        line += f", {len(view.explanations.users):,} explanation records"
    if protocol == "clean":
        return (
            line
            + f" ({view.dropped_records:,} of held-out pairs left out); nothing held out is seen"
        )
    return line + (
        f"; HELD-OUT PAIRS SEEN: {view.held_out_edges:,} as edges, {view.held_out_records:,} as "
        f"records, of {2 * dataset.n_users:,}"
    )
