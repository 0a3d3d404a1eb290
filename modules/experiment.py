"""The parts of a run put together: data, numbering, tokens, model; new, or read from its folder.

The scripts start here. What a run's folder says of the data set and of the item numbers is held
against the data folder, so that a model is never evaluated on something else unnoticed.
"""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from modules.backbone import build_backbone
from modules.candidates import valid_candidates
from modules.dataset import RecDataset, TrainView, item_numbers
from modules.files import load_dataset
from modules.graph import normalized_adjacency
from modules.model import ELMRec, ELMRecConfig
from modules.negatives import NegativeSampler
from modules.parallel import full_state_dict
from modules.samplers import (
    EvalSet,
    StepPlan,
    TrainSampler,
    direct_eval,
    explanation_eval,
    sequential_eval,
)
from modules.tasks import METHODS, Task, WholeWords
from modules.tokens import (
    ItemTrie,
    PromptPieces,
    Ragged,
    build_trie,
    load_tokenizer,
    prompt_pieces,
    text_targets,
)
from utils import distributed
from utils.checkpoint import read_json, write_json
from utils.errors import UserError
from utils.model_card import write_model_card
from utils.runtime import Stream, autocast, rng, seed_everything

RUN_FILE = "run.json"
NUMBERS_FILE = "item_numbers.json"
TOKENIZER_FILE = "tokenizer.json"


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
        return autocast(self.device, self.precision)

    def scheme(self, task: Task) -> WholeWords:
        """The task's whole-word ids."""
        return self.model.schemes[task]

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
    backbone: str,
    from_scratch: bool,
    dropout: float | None = None,
    method: str,
    prompt_num: int,
    alpha: float,
    sigma: float,
    graph_layers: int,
    device: torch.device,
    precision: str,
    seed: int,
) -> Experiment:
    """A fresh model for a data set; everything random comes from ``seed``."""
    seed_everything(seed)
    numbers = item_numbers(item_ids, dataset.n_items, rng(seed, Stream.ITEM_NUMBERS))
    texts = view.explanations.texts if view.explanations is not None else ()
    t5, tokenizer = build_backbone(backbone, from_scratch, texts, dropout)
    config = ELMRecConfig(
        dataset.n_users, dataset.n_items, method, prompt_num, alpha, sigma, graph_layers
    )
    graph = None
    if WholeWords.GRAPH in METHODS[method].whole_words.values():
        graph = normalized_adjacency(view.edges, dataset.n_users, dataset.n_items)
    model = ELMRec(t5, config, graph).to(device)
    if distributed.rank():  # the same weights on every rank, but dropout of its own
        torch.manual_seed(seed + distributed.rank())
    pieces = prompt_pieces(tokenizer, dataset.n_users, numbers)
    return Experiment(dataset, tokenizer, pieces, numbers, model, device, precision, seed)


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
        generator = rng(experiment.seed, Stream.TRAIN + task)
        samplers[task] = TrainSampler(
            task, dataset, pieces, experiment.scheme(task), plan, generator, **parts
        )
    return samplers


def validation_sets(
    experiment: Experiment,
    tasks: list[Task],
    batch_size: int,
    batch_tokens: int | None,
    negative_num: int,
    exp_len: int,
    limit: int | None,
) -> dict[Task, EvalSet]:
    """The validation samples of each task; ``limit``: only that many, evenly spread."""
    dataset = experiment.dataset
    users = spread(dataset.n_users, limit) + 1
    sets = {}
    for task in tasks:
        how = (experiment.pieces, experiment.scheme(task), batch_size, batch_tokens)
        if task is Task.SEQUENTIAL:
            sets[task] = sequential_eval(dataset, users, 2, *how)
        elif task is Task.DIRECT:
            candidates = valid_candidates(dataset, users, negative_num, experiment.seed)
            positives = dataset.valid_items[users - 1]
            sets[task] = direct_eval(users, positives, candidates, *how)
        else:
            records = dataset.explanations["val"]
            rows = spread(len(records.users), limit)
            targets = experiment.targets("val", exp_len)[0].gather(rows)
            sets[task] = explanation_eval(records.users[rows], records.items[rows], targets, *how)
    return sets


def spread(total: int, limit: int | None) -> np.ndarray:
    """0..total-1, or ``limit`` of them evenly spread."""
    if limit is None or limit >= total:
        return np.arange(total)
    return np.linspace(0, total - 1, limit).astype(np.int64)


# ---------------------------------------------------------------------------------- the folder


def save_run(experiment: Experiment, folder: Path, run: dict[str, Any]) -> None:
    """Write what evaluation needs beside the model: tokenizer, numbering, the run's record."""
    folder.mkdir(parents=True, exist_ok=True)
    experiment.tokenizer.save_pretrained(folder)
    write_json(folder / NUMBERS_FILE, experiment.numbers[1:].tolist())
    write_json(
        folder / RUN_FILE,
        run
        | {
            "fingerprints": experiment.dataset.fingerprints,
            "tokenizer_sha256": _fingerprint(folder / TOKENIZER_FILE),
        },
    )
    write_model_card(folder)


def save_model(experiment: Experiment, folder: Path, metadata: dict[str, str]) -> None:
    """Write the model folder's weights; all ranks must call it, rank 0 writes."""
    tensors = full_state_dict(experiment.model)
    if distributed.is_main():
        experiment.model.save_pretrained(folder, metadata, tensors)
    distributed.wait_for_all()


def open_experiment(
    folder: str | Path, data_dir: str | Path, device: torch.device, precision: str
) -> tuple[Experiment, dict[str, Any]]:
    """Read a run's folder, and the data folder that it was trained on.

    Returns:
        the experiment and the run's record.

    Raises:
        UserError: where the folder is missing or damaged, or the data or tokenizer are others.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"--checkpoint {folder}: no such folder. Train a model with pretrain.py.")
    run = read_json(folder / RUN_FILE)
    dataset = load_dataset(data_dir)
    check_same_data(folder, run, dataset)
    if _fingerprint(folder / TOKENIZER_FILE) != run["tokenizer_sha256"]:
        raise UserError(
            f"{folder / TOKENIZER_FILE}: not the tokenizer that this model was trained with. Put "
            "the original file back."
        )
    numbers = np.asarray([0, *read_json(folder / NUMBERS_FILE)], dtype=np.int64)
    model = ELMRec.from_pretrained(folder).to(device)
    tokenizer = load_tokenizer(folder)
    pieces = prompt_pieces(tokenizer, dataset.n_users, numbers)
    opened = Experiment(
        dataset, tokenizer, pieces, numbers, model, device, precision, run["arguments"]["seed"]
    )
    return opened, run


def check_same_data(folder: Path, run: dict[str, Any], dataset: RecDataset) -> None:
    """UserError where the data folder is not the one that the run was trained on."""
    for file in ("sequential.txt", "datamaps.json"):
        if run["fingerprints"][file] != dataset.fingerprints[file]:
            raise UserError(
                f"--checkpoint {folder} was trained on the data set {run['dataset']!r}, whose "
                f"{file} is not the one of {dataset.folder}. Pass the folder it was trained on."
            )


def _fingerprint(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; the model folder is not complete.") from error


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
