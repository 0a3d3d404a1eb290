"""Whole-word embeddings in two dimensions, before and after propagation: a sample of the nodes.

Reads a model folder's tensors itself, so that a report needs neither the model's code nor its
memory: E0 is propagated a few columns at a time, and only the sampled rows are kept.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse
from safetensors import SafetensorError, safe_open

from utils.errors import UserError
from utils.files import read_json

SAMPLE = 800  # nodes of each side at most: more are a blot
_COLUMNS_AT_A_TIME = 32  # of E0: 130 MB for a million nodes
_PREFIX = "elmrec."  # of our own tensors in model.safetensors


class Projection(NamedTuple):
    """The first two principal components of n vectors."""

    points: np.ndarray  # (n, 2)
    shares: tuple[float, float]  # of the variance


class EmbeddingMap(NamedTuple):
    """n sampled nodes of the graph."""

    before: Projection  # E0, as trained
    after: Projection  # W, its propagation
    degrees: np.ndarray  # (n,) edges of a node
    is_item: np.ndarray  # (n,) bool: an item, or a user
    nodes: int  # U + I, of which n are shown
    layers: int  # L


def read_map(folder: Path, seed: int) -> EmbeddingMap | None:
    """Sample, propagate and project; None where the folder holds no model, or one without a graph.

    Raises:
        UserError: where the model's files are damaged or do not fit each other.
    """
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return None
    config = read_json(folder / "config.json")["elmrec"]
    try:
        with safe_open(weights, framework="np") as file:
            if _PREFIX + "graph_crow" not in file.keys():  # noqa: SIM118  not iterable itself
                return None
            crow, col, values = (
                file.get_tensor(f"{_PREFIX}graph_{part}") for part in ("crow", "col", "values")
            )
            table = file.get_slice(_PREFIX + "nodes.weight")
            rows = sample_nodes(config["n_users"], config["n_items"], np.random.default_rng(seed))
            size = len(crow) - 1
            adjacency = scipy.sparse.csr_array((values, col, crow), shape=(size, size))
            layers, width = config["graph_layers"], table.get_shape()[1]
            before, after = [], []
            for start in range(0, width, _COLUMNS_AT_A_TIME):
                features = np.asarray(table[:, start : start + _COLUMNS_AT_A_TIME])
                before.append(features[rows])
                after.append(propagate(features, adjacency, layers)[rows])
    except SafetensorError as error:
        raise UserError(f"{weights}: damaged or cut short ({error}).") from error
    return EmbeddingMap(
        project(np.concatenate(before, axis=1)),
        project(np.concatenate(after, axis=1)),
        np.diff(crow)[rows],
        rows > config["n_users"],
        config["n_users"] + config["n_items"],
        layers,
    )


def sample_nodes(n_users: int, n_items: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) nodes: up to ``SAMPLE`` users of 1..U, and as many items of U+1..U+I, in order."""
    users = rng.permutation(n_users)[:SAMPLE] + 1
    items = rng.permutation(n_items)[:SAMPLE] + 1 + n_users
    return np.concatenate([np.sort(users), np.sort(items)])


def propagate(features: np.ndarray, adjacency: scipy.sparse.csr_array, layers: int) -> np.ndarray:
    """1/(L+1) sum_k A_hat^k E0 of (N, d) features: modules/model/graph.py without PyTorch."""
    total = features
    for _ in range(layers):
        total = features + adjacency @ total
    return total / (layers + 1)


def project(vectors: np.ndarray) -> Projection:
    """(n, D) -> their first two principal components, by a singular value decomposition.

    An axis has no direction of its own: each is turned so that its largest weight is positive.
    """
    centred = np.asarray(vectors, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    shares = lengths**2 / max(float((lengths**2).sum()), 1e-30)
    return Projection(centred @ axes.T, (float(shares[0]), float(shares[1])))
