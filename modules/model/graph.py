"""The user-item graph and LightGCN propagation: section 3.2 of the ELMRec paper.

    A_hat = D^-1/2 A D^-1/2                      (symmetric, no self loops)
    W     = 1/(L+1) * sum_{k=0..L} A_hat^k E0    ("random feature propagation")

Nodes: 0 is "no whole word", 1..U are users, U+1..U+I items. It knows node numbers only, nothing
of T5.
"""

import warnings
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import nn


class Graph(NamedTuple):
    """A graph in compressed sparse rows: A_hat over N = U + I + 1 nodes, or an item graph."""

    crow: torch.Tensor  # (N + 1,) int64
    col: torch.Tensor  # (entries,) int64
    values: torch.Tensor  # (entries,) float32

    @classmethod
    def of(cls, matrix: scipy.sparse.csr_array | scipy.sparse.csr_matrix) -> "Graph":
        """The graph of a weighted adjacency matrix."""
        crow, col = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
        values = matrix.data.astype(np.float32)
        return cls(torch.from_numpy(crow), torch.from_numpy(col), torch.from_numpy(values))

    @classmethod
    def sketch(cls, n: int, col: torch.Tensor | None) -> "Graph":
        """The shapes of a graph of n nodes with entries as in ``col``, or with none."""
        entries = 0 if col is None else col.numel()
        crow, col = torch.empty(n + 1, dtype=torch.int64), torch.empty(entries, dtype=torch.int64)
        return cls(crow, col, torch.empty(entries))

    def scipy(self, columns: int | None = None) -> scipy.sparse.csr_matrix:
        """The weighted adjacency matrix. columns: where it is not square."""
        crow, col, values = (part.cpu().numpy() for part in self)
        n = len(crow) - 1
        return scipy.sparse.csr_matrix((values, col, crow), (n, columns or n))

    def transposed(self, columns: int | None = None) -> "Graph":
        """The graph with its edges turned round, on the same device."""
        turned = Graph.of(self.scipy(columns).T.tocsr())
        return Graph(*(part.to(self.col.device) for part in turned))

    def matrix(self, check: bool = False, columns: int | None = None) -> torch.Tensor:
        """(N, N) sparse CSR tensor, built when needed, for a model may be made on the meta device.

        Args:
            check: raise ValueError or RuntimeError where this is not a matrix. An index out of
                range would read memory of something else.
            columns: where it is not square.
        """
        n = len(self.crow) - 1
        with warnings.catch_warnings():  # PyTorch calls CSR "beta", once a process
            warnings.filterwarnings("ignore", message="Sparse CSR")
            return torch.sparse_csr_tensor(*self, (n, columns or n), check_invariants=check)


def normalized_adjacency(edges: np.ndarray, n_users: int, n_items: int) -> Graph:
    """A_hat of the bipartite graph; a node without edges has an empty row.

    Args:
        edges: (2, E) users in 1..U and items in 1..I; a repeated pair counts once.
    """
    n = n_users + n_items + 1
    users, items = edges[0].astype(np.int64), edges[1].astype(np.int64) + n_users
    rows, cols = np.concatenate([users, items]), np.concatenate([items, users])
    adjacency = scipy.sparse.csr_array((np.ones(len(rows)), (rows, cols)), shape=(n, n))
    adjacency.sum_duplicates()
    adjacency.data[:] = 1.0
    degrees = np.diff(adjacency.indptr)
    scale = np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0.0)
    adjacency.data[:] = scale[np.repeat(np.arange(n), degrees)] * scale[adjacency.indices]
    return Graph.of(adjacency)


def without_edges(graph: Graph, users: torch.Tensor, items: torch.Tensor) -> Graph:
    """A_hat of the graph without some edges; degrees are counted anew on what is left, so that no
    node is known by a gap in its norm.

    A step asks whether a user takes an item, and the train graph says so: each edge that is asked
    for leaves the graph of its step, and the answer is not shown with the question.

    Args:
        users: (n,) nodes; a pair may come twice, or be no edge.
        items: (n,) nodes of the other side; 0: all edges of the user.
    """
    n = len(graph.crow) - 1
    degrees = graph.crow.diff()
    row = torch.repeat_interleave(torch.arange(n, device=graph.col.device), degrees)
    keep = torch.ones_like(graph.values)
    every = torch.zeros(n, dtype=torch.bool, device=graph.col.device)
    every[users[items == 0]] = True
    keep[every[row] | every[graph.col]] = 0.0
    key = row * n + graph.col  # ascending: rows follow each other, columns ascend in each
    ends = torch.cat([users * n + items, items * n + users])
    place, after = (torch.searchsorted(key, ends, right=right) for right in (False, True))
    keep[place[after > place]] = 0.0
    left = torch.zeros(n, dtype=keep.dtype, device=keep.device).index_add_(0, row, keep)
    scale = torch.where(left > 0, left.clamp(min=1.0).rsqrt(), 0.0)
    return graph._replace(values=keep * scale[row] * scale[graph.col])


def random_features(n: int, width: int, sigma: float, no_word: int | None) -> nn.Embedding:
    """E0, (n, width) of N(0, sigma^2). no_word: the row that is zero and stays so; None: all are
    drawn."""
    features = nn.Embedding(n, width, padding_idx=no_word)
    nn.init.normal_(features.weight, std=sigma)
    if no_word is not None:
        with torch.no_grad():
            features.weight[no_word] = 0.0
    return features


class _Propagate(torch.autograd.Function):
    """W is linear in E0 and A_hat symmetric, so the gradient of W is the same propagation."""

    @staticmethod
    def forward(ctx, features: torch.Tensor, matrix: torch.Tensor, layers: int) -> torch.Tensor:
        ctx.matrix, ctx.layers = matrix, layers
        return _propagate(features, matrix, layers)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _propagate(grad, ctx.matrix, ctx.layers), None, None


def _propagate(features: torch.Tensor, matrix: torch.Tensor, layers: int) -> torch.Tensor:
    # Horner's scheme: E0 + A (E0 + A (E0 + ...)), so that each layer is one fused product-and-sum.
    total = features = features.contiguous()
    for _ in range(layers):
        total = torch.addmm(features, matrix, total)
    return total.div_(layers + 1) if layers else total.clone()


def _matrix_for(features: torch.Tensor, graph: Graph) -> torch.Tensor:
    """A_hat in the type of the features."""
    return graph._replace(values=graph.values.to(features.dtype)).matrix()


def propagate(features: torch.Tensor, graph: Graph, layers: int) -> torch.Tensor:
    """W = 1/(L+1) sum_k A_hat^k E0, differentiable in E0.

    Args:
        features: (N, D) E0, float32 or float64.
        graph: A_hat.
        layers: L >= 0.

    Returns:
        (N, D). An isolated node keeps E0 / (L + 1).
    """
    # Sparse products have no autocast rule on CPUs, and want full precision anyway.
    with torch.autocast(features.device.type, enabled=False):
        return _Propagate.apply(features, _matrix_for(features, graph), layers)


class _PropagateTo(torch.autograd.Function):
    """A few rows of W: hops of as many columns as rows are asked for, in place of D."""

    @staticmethod
    def forward(ctx, features, matrix, layers: int, nodes: torch.Tensor) -> torch.Tensor:
        asked = features.new_zeros(len(features), len(nodes))
        asked[nodes, torch.arange(len(nodes), device=nodes.device)] = 1.0
        weights = _propagate(asked, matrix, layers)  # (N, n): column j is row nodes[j] of sum A^k
        ctx.save_for_backward(weights)
        return weights.T @ features

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (weights,) = ctx.saved_tensors
        return weights @ grad, None, None, None


def propagate_to(
    features: torch.Tensor, graph: Graph, layers: int, nodes: torch.Tensor
) -> torch.Tensor:
    """Some rows of what ``propagate`` gives. A_hat is symmetric, so that a row of W is a column of
    sum_k A_hat^k, times E0: cheaper than all of W where fewer rows are asked for than E0 is wide.

    Args:
        features, graph, layers: as in ``propagate``.
        nodes: (n,) int64, different ones.

    Returns:
        (n, D).
    """
    with torch.autocast(features.device.type, enabled=False):
        return _PropagateTo.apply(features, _matrix_for(features, graph), layers, nodes)


# What makes W of E0: (features (N, D), graph, L) -> (N, D), differentiable in the features.
PROPAGATIONS = {"lightgcn": propagate}
# And some rows of it, of those that can: (features (N, D), graph, L, nodes (n,)) -> (n, D).
ROWS_OF = {"lightgcn": propagate_to}
