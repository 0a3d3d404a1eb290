"""SASRec (Kang & McAuley, ICDM 2018) by the package RecTools: a causal transformer over items.

Each train item but the first is a target, among all items: softmax over the catalogue, in place of
the paper's sampled negatives. It has two blocks of two heads, and reads the last ``MAX_HISTORY``
items. It trains on a GPU where PyTorch finds one.
"""

import logging
import warnings
from copy import deepcopy

import numpy as np
import pandas as pd
import torch
from rectools.dataset import Dataset
from rectools.models.nn.transformers.lightning import TransformerLightningModule
from rectools.models.nn.transformers.sasrec import SASRecModel
from scipy import sparse
from torch.nn.functional import cross_entropy

from modules.baselines.scorer import Asked, Scorer
from modules.baselines.stopping import Pace, batch_size, train_until_best
from modules.data.dataset import HeldOut, RecDataset
from modules.tasks import MAX_HISTORY

BATCH = 128  # users
PACE = Pace(every=1, patience=5, most=200)


class PlacesWithTargets(TransformerLightningModule):
    """The package's loss without logits at places of padding, most of them where histories are
    short."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """The mean cross entropy of a batch's targets. x, y: (b, n), 0 = padding."""
        vectors = self.torch_model.item_model.get_all_embeddings()
        there = batch["y"] > 0
        states = self.torch_model.encode_sessions(batch, vectors)[there]
        return cross_entropy(self.torch_model.similarity_module(states, vectors), batch["y"][there])


def fit_sasrec(dataset: RecDataset, seed: int, width: int, dropout: float) -> Scorer:
    """SASRec of D = ``width``, trained until the validation items are ranked no better."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # which speaks at each epoch
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages among themselves
        torch.manual_seed(seed)
        model = SASRecModel(
            n_blocks=2,
            n_heads=2,
            n_factors=width,
            dropout_rate=dropout,
            session_max_len=MAX_HISTORY,
            loss="softmax",
            lr=1e-3,
            batch_size=batch_size(dataset.n_users, BATCH),
            lightning_module_type=PlacesWithTargets,
        )
        train = Dataset.construct(train_table(dataset))
        return train_until_best(
            dataset,
            seed,
            PACE,
            epoch=lambda: model.fit_partial(train, min_epochs=1, max_epochs=1),
            scorer=lambda: _scorer(dataset, model),
        )


def train_table(dataset: RecDataset) -> pd.DataFrame:
    """The train parts of the histories as RecTools takes them; times are places in a history."""
    starts, lengths = dataset.offsets[:-1], dataset.lengths
    users = np.repeat(dataset.users, lengths)
    nth = np.arange(len(users)) - starts[users - 1]
    keep = nth < lengths[users - 1] - HeldOut.VALIDATION
    return pd.DataFrame(
        {
            "user_id": users[keep],
            "item_id": dataset.items[keep],
            "weight": 1.0,
            "datetime": pd.to_datetime(nth[keep], unit="s"),
        }
    )


def _scorer(dataset: RecDataset, model: SASRecModel) -> Scorer:
    """Scores by what the model is now. An item that it was not trained on comes last."""
    net = deepcopy(model.torch_model).cpu().eval()
    column = np.zeros(dataset.n_items + 1, dtype=np.int64)  # 0: padding, or not trained on
    known = model.data_preparator.get_known_item_ids().astype(np.int64)
    column[known] = model.data_preparator.get_known_items_sorted_internal_ids()
    with torch.no_grad():
        vectors = net.item_model.get_all_embeddings()

    @torch.no_grad()
    def score(histories: sparse.csr_matrix, asked: Asked) -> np.ndarray:
        sessions = np.zeros((len(asked.users), MAX_HISTORY), dtype=np.int64)
        for row, items in zip(sessions, dataset.had(asked.users, asked.until)):
            items = column[items][column[items] > 0][-MAX_HISTORY:]
            row[MAX_HISTORY - len(items) :] = items
        last = net.encode_sessions({"x": torch.from_numpy(sessions)}, vectors)[:, -1]
        scores = net.similarity_module(last, vectors).numpy()
        scores[:, 0] = scores.min(axis=1) - 1.0
        return scores[:, column]

    return score
