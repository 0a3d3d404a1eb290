"""``Run``: data, numbering, prompts and model of a run; read from its folder, or made by training.

What a run's folder says of the data set and of the item numbers is compared with the data folder,
so that a model is never evaluated on something else unnoticed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from modules.data.dataset import RecDataset
from modules.data.reader import load_dataset
from modules.loader.pieces import prompt_pieces, text_targets
from modules.loader.prompts import Prompts
from modules.loader.ragged import Ragged
from modules.loader.tokenizer import check_vocabulary, load_tokenizer
from modules.loader.trie import ItemTrie, build_trie
from modules.model.elmrec import ELMRec
from modules.runs.folder import (
    check_data,
    check_files,
    check_weights,
    read_numbers,
    warn_of_versions,
)
from modules.runs.library import read_library
from modules.runs.record import RunRecord, read_record
from modules.tasks import Task
from utils.errors import UserError
from utils.files import check_writable
from utils.runtime import Machine, start_machine

__all__ = ["Run", "open_run", "spread", "start_machine", "tasks_of"]


@dataclass(frozen=True)
class Run:
    """Everything that training and evaluation share.

    Attributes:
        folder: where its files are.
        record: how it was trained.
        numbers: (I + 1,) the number by which each item is written.
    """

    folder: Path
    record: RunRecord
    dataset: RecDataset
    tokenizer: PreTrainedTokenizerBase
    numbers: np.ndarray
    prompts: Prompts
    model: ELMRec
    machine: Machine

    @property
    def trie(self) -> ItemTrie:
        """The trie over all item numbers."""
        start = self.model.t5.config.decoder_start_token_id
        return build_trie(self.prompts.pieces.item_targets, start)

    def texts(self, split: str, max_tokens: int) -> tuple[Ragged, list[str]]:
        """Explanation targets of a split, and the texts of them."""
        return text_targets(self.tokenizer, self.dataset.explanations[split].texts, max_tokens)

    def written(self, tokens: list[list[int]]) -> list[str]:
        """Rows of tokens as texts, special tokens left out."""
        return self.tokenizer.batch_decode(tokens, skip_special_tokens=True)

    def without_item_graph(self) -> "Run":
        """The same, ranking by the T5 alone."""
        return replace(self, prompts=replace(self.prompts, item_graphs=False))

    def users(self, limit: int | None) -> np.ndarray:
        """(n,) users of the data set: all, or ``limit`` of them evenly spread."""
        return spread(self.dataset.n_users, limit) + 1


def spread(total: int, limit: int | None) -> np.ndarray:
    """0..total-1, or ``limit`` of them evenly spread."""
    if limit is None or limit >= total:
        return np.arange(total)
    return np.linspace(0, total - 1, limit).astype(np.int64)


def tasks_of(dataset: RecDataset, names: Sequence[str]) -> list[Task]:
    """The tasks asked for; UserError where the data set has no explanations for one."""
    tasks = [Task[name.upper()] for name in names]
    if Task.EXPLANATION in tasks and dataset.explanations is None:
        raise UserError(
            f"{dataset.folder}: no explanation.json, which the explanation task needs. "
            "Pass --tasks sequential,direct to train without it."
        )
    return tasks


def open_run(
    folder: str | Path,
    data_dir: str | Path | None,
    machine: Machine,
    optional: Sequence[str] = (),
    writes: bool = True,
) -> Run:
    """Read a run's folder, and the data folder that it was trained on.

    Args:
        data_dir: None: what the run's folder itself holds of the data.
        optional: the optional data files that will be read, and must be those of training.
        writes: results will be written to the folder, which must be possible.

    Raises:
        UserError: where the folder is missing or damaged, or the data or tokenizer are others.
    """
    folder = Path(folder)
    record = read_record(folder)
    dataset = None
    if data_dir is not None:
        dataset = load_dataset(data_dir)
        check_data(folder, record, dataset, optional)
    check_files(folder, record)
    check_weights(folder, record)
    model = ELMRec.from_pretrained(folder).to(machine.device)
    sizes = (model.config.n_users, model.config.n_items)
    dataset = dataset or read_library(folder, record, *sizes)
    numbers = read_numbers(folder, dataset.n_items)
    if sizes != (dataset.n_users, dataset.n_items):
        raise UserError(
            f"{folder}: a model of {sizes[0]} users and {sizes[1]} items; {dataset.folder} has "
            f"{dataset.n_users} and {dataset.n_items}. The folder holds files of several runs."
        )
    tokenizer = load_tokenizer(folder)
    check_vocabulary(str(folder), tokenizer, model.t5.config.vocab_size)
    warn_of_versions(record)
    if writes:
        check_writable(folder)
    pieces = prompt_pieces(tokenizer, dataset.n_users, numbers, record.own_tokens)
    config = model.config
    drop, graphs = config.own_edges == "drop", model.item_scores is not None
    prompts = Prompts(pieces, model.schemes, config.causal, drop, graphs)
    return Run(folder, record, dataset, tokenizer, numbers, prompts, model, machine)
