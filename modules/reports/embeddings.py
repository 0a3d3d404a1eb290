"""Whole-word embeddings in two dimensions, before and after propagation: a sample of the nodes.

Reads the tensors of a model's folder without building the model, so that a report needs little
memory: E0 is propagated a few columns at a time, and only the sampled rows are kept.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from utils.errors import UserError, limit

if TYPE_CHECKING:
    import torch

    from modules.model.config import ELMRecConfig
    from modules.model.graph import Graph

SAMPLE = 800  # nodes of each side at most: more would cover each other
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
    import torch  # takes seconds: only for a folder with a model

    from modules.model.config import read_config

    config = read_config(folder)
    try:
        with safe_open(weights, framework="pt") as file:
            if _PREFIX + "graph_crow" not in file.keys():  # noqa: SIM118  not iterable itself
                return None
            graph = _read_graph(file, weights, config.n_nodes)
            rows = sample_nodes(config.n_users, config.n_items, np.random.default_rng(seed))
            before, after = _propagated(file, graph, config, torch.from_numpy(rows))
    except SafetensorError as error:
        raise UserError(
            f"{weights}: damaged or cut short ({error}). Copy or train the model again."
        ) from error
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise UserError(
            f"{weights}: the nodes' vectors hold numbers that are infinite or not a number (NaN). "
            "Copy or train the model again."
        )
    return EmbeddingMap(
        project(before),
        project(after),
        graph.crow.diff().numpy()[rows],
        rows > config.n_users,
        config.n_nodes - 1,
        config.graph_layers,
    )


def _propagated(
    file: Any, graph: "Graph", config: "ELMRecConfig", shown: "torch.Tensor"
) -> tuple[np.ndarray, np.ndarray]:
    """The (n, D) shown rows of E0 and of W; all of both would not fit into memory at once."""
    import torch

    from modules.model.graph import PROPAGATIONS

    before, after = [], []
    table = file.get_slice(_PREFIX + "nodes.weight")
    for start in range(0, table.get_shape()[1], _COLUMNS_AT_A_TIME):
        features = table[:, start : start + _COLUMNS_AT_A_TIME]  # (N, columns)
        before.append(features[shown])
        spread = PROPAGATIONS[config.propagation](features, graph, config.graph_layers)
        after.append(spread[shown])
    return torch.cat(before, dim=1).numpy(), torch.cat(after, dim=1).numpy()


def _read_graph(file: Any, path: Path, n_nodes: int) -> "Graph":
    """The graph of an open safetensors file; UserError where its nodes are not the table's."""
    from modules.model.graph import Graph

    table = file.get_slice(_PREFIX + "nodes.weight")
    parts = [file.get_slice(f"{_PREFIX}graph_{part}") for part in Graph._fields]
    kinds = [part.get_dtype() for part in (table, *parts)]
    shapes = [part.get_shape() for part in (table, *parts)]
    flat = [len(shape) for shape in shapes] == [2, 1, 1, 1]
    if kinds != ["F32", "I64", "I64", "F32"] or not flat or shapes[0][1] < 2:
        raise UserError(
            f"{path}: the nodes' table and the graph are of the kinds {', '.join(kinds)} and the "
            f"shapes {limit(shapes)}, which no model here has. Copy or train the model again."
        )
    if not shapes[0][0] == shapes[1][0] - 1 == n_nodes:
        raise UserError(
            f"{path}: {shapes[0][0]} node vectors, and a graph of {shapes[1][0] - 1} nodes; "
            f"config.json beside it needs {n_nodes}. Copy both files again from one run."
        )
    graph = Graph(*(file.get_tensor(f"{_PREFIX}graph_{part}") for part in Graph._fields))
    try:
        graph.matrix(check=True)
    except (RuntimeError, ValueError) as error:  # an index out of range, as damage leaves it
        raise UserError(
            f"{path}: the graph is damaged ({error}). Copy or train the model again."
        ) from error
    return graph


def sample_nodes(n_users: int, n_items: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) nodes: up to ``SAMPLE`` users of 1..U, and as many items of U+1..U+I, in order."""
    users = rng.permutation(n_users)[:SAMPLE] + 1
    items = rng.permutation(n_items)[:SAMPLE] + 1 + n_users
    return np.concatenate([np.sort(users), np.sort(items)])


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
