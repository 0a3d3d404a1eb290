"""Item graphs: weighted edges from what somebody had to what they may take next.

``linear``: what follows what in the train histories, solved in closed form.

    B = argmin |S B - T|^2 + l2 |B|^2 = (S^T S + l2 I)^-1 S^T T

A row of S is a prefix of a train history, its items weighted past^age (the last one: 1); the row of
T is what follows it, future^distance (the next one: 1). This is the model of partial sessions of
SLIST (Choi et al., "Session-aware Linear Item-Item Models", WWW 2021), without its weights of age.
S^T T counts what follows what; the inverse takes out what other items of the prefix explain. Nearly
all entries of B are next to nothing: what is left is a directed graph of some 80 edges an item.

``paths``: the user-item graph itself, in two hops from item to item: D_i^-1/2 R^T D_u^-1 R D_i^-1/2
with R the (U, I) train matrix. A history times this is its row of A_hat^3 (section 3.2 of the
paper), with the user told by the history; three times over, of A_hat^7. That is the high-order
connectivity that the paper propagates.

What a graph says of the item after a history is the history's weighted row times the edges, as
often as the graph has hops.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from modules.data.dataset import HeldOut, RecDataset
from modules.data.histories import train_matrix, weighted_stretches
from modules.data.near_items import solve_near
from modules.tasks import MAX_HISTORY
from utils.console import say
from utils.errors import UserError
from utils.memory import check_memory

PAST, FUTURE, L2 = 0.5, 0.5, 30.0  # chosen on Beauty's validation items
# Of more items B is solved with the near ones of each alone: two matrices of the square of these,
# in float32, take 7 GB.
MAX_ITEMS = 30_000
# Of more pairs of items with a path than this, ``paths`` is kept as its first hop.
MOST_PATHS = 50_000_000
# Weights below are no edges. On Beauty that leaves 76 edges an item, and rankings as they were.
SMALLEST_EDGE = 5e-4


class ItemGraph(NamedTuple):
    """The edges of an item graph; what they say of a history is in modules/model/item_scores.py."""

    # (I + 1, I + 1) float32; row and column 0 are no item. With ``through_users`` (I + 1, U + 1):
    # the way to the users, and back.
    edges: sparse.csr_matrix
    through_users: bool = False


def solve(
    dataset: RecDataset, l2: float = L2, past: float = PAST, future: float = FUTURE
) -> np.ndarray:
    """(I + 1, I + 1) float32 B, whole; row and column 0 are no item.

    Raises:
        UserError: where the memory does not hold two such matrices.
    """
    n = dataset.n_items + 1
    check_memory(
        8 * n * n,
        f"{dataset.folder}: the linear model of {n - 1:,} items",
        "Leave it out, or train with --item_graph paths.",
    )
    starts, stops = dataset.offsets[:-1], dataset.offsets[1:] - HeldOut.VALIDATION
    targets = np.arange(len(dataset.items))
    user = np.repeat(np.arange(dataset.n_users), dataset.lengths)
    inside = (targets > starts[user]) & (targets < stops[user])
    targets, user = targets[inside], user[inside]
    first = np.maximum(starts[user], targets - MAX_HISTORY)
    last = np.minimum(stops[user], targets + MAX_HISTORY)
    before = weighted_stretches(dataset, first, targets, past)
    after = weighted_stretches(dataset, targets, last, future, forwards=True)
    gram = (before.T @ before).toarray()
    gram.flat[:: n + 1] += l2
    # LAPACK reads columns first; the Gram matrix is symmetric, so its transpose is itself.
    factor, failed = lapack.spotrf(gram.T, lower=1, overwrite_a=1)
    if failed:
        raise UserError(f"l2 {l2}: too small, the matrix has no inverse in float32.")
    right = np.asfortranarray((before.T @ after).toarray())
    solution, _ = lapack.spotrs(factor, right, lower=1, overwrite_b=1)
    return np.ascontiguousarray(solution)  # else each sparse product would copy all of it


def linear_weights(
    dataset: RecDataset, l2: float = L2, past: float = PAST, future: float = FUTURE
) -> np.ndarray | sparse.csr_matrix:
    """B: of up to ``MAX_ITEMS`` items whole, else sparse, which is said. Raises UserError as
    ``solve`` does."""
    if dataset.n_items < MAX_ITEMS:
        return solve(dataset, l2, past, future)
    say(f"{dataset.n_items:,} items: the linear model weighs the near ones of each alone")
    return solve_near(dataset, l2, past, future)


def linear_edges(dataset: RecDataset) -> sparse.csr_matrix:
    """The large entries of B. Raises UserError as ``solve`` does."""
    weights = linear_weights(dataset)
    if sparse.issparse(weights):
        weights.data[np.abs(weights.data) < SMALLEST_EDGE] = 0.0
        weights.eliminate_zeros()
        return weights
    weights[np.abs(weights) < SMALLEST_EDGE] = 0.0
    weights[0] = weights[:, 0] = 0.0
    return sparse.csr_matrix(weights)


def path_edges(dataset: RecDataset) -> sparse.csr_matrix:
    """Two hops of the train edges, normalised as in A_hat."""
    train = train_matrix(dataset)
    users, items = (np.asarray(train.sum(axis=axis)).ravel() for axis in (1, 0))
    root = sparse.diags(np.where(items > 0, np.maximum(items, 1) ** -0.5, 0.0))
    hops = root @ train.T @ sparse.diags(1 / np.maximum(users, 1)) @ train @ root
    edges = hops.tocsr().astype(np.float32)
    edges.sort_indices()
    return edges


def has_many_paths(dataset: RecDataset) -> bool:
    """Whether ``paths`` has more entries than it takes to go through the users each time. Every two
    items of a history have a path: a large log has far more of them than interactions."""
    of_histories = int(np.square(dataset.lengths - HeldOut.VALIDATION).sum())
    return min(of_histories, dataset.n_items**2) > MOST_PATHS


def first_hop(dataset: RecDataset) -> sparse.csr_matrix:
    """(I + 1, U + 1) float32, the items' rows of A_hat of the train edges: times its transpose, it
    is ``path_edges``."""
    users, items = dataset.train_pairs()
    degrees = [np.bincount(nodes, minlength=nodes.max() + 1) for nodes in (users, items)]
    values = (degrees[0][users] * degrees[1][items]) ** -0.5
    shape = (dataset.n_items + 1, dataset.n_users + 1)
    return sparse.csr_matrix((values.astype(np.float32), (items, users)), shape)


class GraphKind(NamedTuple):
    """How an item graph is made and read."""

    edges: Callable[[RecDataset], sparse.csr_matrix]  # (I + 1, I + 1) float32
    hops: int
    # Tried for the weight of an item of a history by that of the one after it, the first first.
    pasts: tuple[float, ...]


# By the names in ``ITEM_GRAPHS`` of modules/presets.py. Hops and weights of the past were chosen on
# Beauty's validation items (benchmarks/EXPERIMENTS.md, experiment 11).
GRAPH_KINDS = {
    "linear": GraphKind(linear_edges, 1, (0.5, 0.4, 0.6, 0.7, 0.8, 0.9)),
    "paths": GraphKind(path_edges, 3, (0.8,)),
}


def item_graph(name: str, dataset: RecDataset) -> ItemGraph:
    """One of ``GRAPH_KINDS``, of the train histories. Raises UserError as ``solve`` does."""
    if name == "paths" and has_many_paths(dataset):
        return ItemGraph(first_hop(dataset), through_users=True)
    return ItemGraph(GRAPH_KINDS[name].edges(dataset))
