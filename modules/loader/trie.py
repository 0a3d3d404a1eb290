"""The trie of item numbers: what a decoder may write, and where it has a choice.

Numbers are short, so few prefixes have more than one continuation: 153 over the 12,101 items of
Beauty. Exact ranking, best-first search and the loss over continuations all start from these.
"""

from typing import NamedTuple

import numpy as np

from modules.loader.ragged import Ragged


class ItemTrie(NamedTuple):
    """The trie over all item targets. A node is a prefix of some target; node 0 is the root.

    Nodes are numbered level by level, so a parent's number is below its children's. Item i's
    target t_1 .. t_m (t_m the end mark) leaves nodes ``paths[i, 0] .. paths[i, m - 1]`` by the
    tokens ``vocabulary[columns[i, 0]] ..``.
    """

    tokens: np.ndarray  # (N,) int64: the token that leads into a node; decoder start at the root
    parents: np.ndarray  # (N,) int64; -1 at the root
    depths: np.ndarray  # (N,) int64
    paths: np.ndarray  # (I + 1, T) int64, -1 behind the end; row 0 is all -1
    columns: np.ndarray  # (I + 1, T) int64, -1 behind the end
    vocabulary: np.ndarray  # (V',) int64: the tokens that targets are made of, ascending


def build_trie(targets: Ragged, start_token: int) -> ItemTrie:
    """Build the trie of ``targets`` (row 0 is no item), level by level."""
    tokens = targets.gather(np.arange(1, len(targets.starts) - 1)).padded(-1)
    n_items, depth = tokens.shape
    vocabulary = np.unique(tokens[tokens >= 0])
    columns = np.where(tokens >= 0, np.searchsorted(vocabulary, tokens), -1)
    paths = np.full((n_items, depth), -1, dtype=np.int64)
    paths[:, 0] = 0
    node_tokens, parents, depths = [[start_token]], [[-1]], [[0]]
    count = 1
    for level in range(1, depth):
        alive = np.flatnonzero(tokens[:, level] >= 0)
        keys = paths[alive, level - 1] * len(vocabulary) + columns[alive, level - 1]
        unique, inverse = np.unique(keys, return_inverse=True)
        paths[alive, level] = count + inverse
        parent, column = np.divmod(unique, len(vocabulary))
        node_tokens.append(vocabulary[column])
        parents.append(parent)
        depths.append(np.full(len(unique), level))
        count += len(unique)
    pad = np.full((1, depth), -1, dtype=np.int64)
    return ItemTrie(
        tokens=np.concatenate(node_tokens).astype(np.int64),
        parents=np.concatenate(parents).astype(np.int64),
        depths=np.concatenate(depths).astype(np.int64),
        paths=np.concatenate([pad, paths]),
        columns=np.concatenate([pad, columns]),
        vocabulary=vocabulary,
    )


class Branching(NamedTuple):
    """Where the tries over some rows of candidates branch.

    A node of row r is keyed ``r * N + node``, an edge below it ``key * V' + column``.
    """

    edges: np.ndarray  # sorted unique keys of all edges
    nodes: np.ndarray  # sorted keys of the nodes with two continuations or more
    needed: np.ndarray  # sorted keys of these, their ancestors, and every row's root


def branching(trie: ItemTrie, candidates: np.ndarray) -> Branching:
    """The branching nodes of the tries over (b, C) ``candidates``, items in 1..I or 0 for none."""
    n_nodes, width = len(trie.tokens), len(trie.vocabulary)
    rows = np.arange(len(candidates))
    nodes, columns = trie.paths[candidates], trie.columns[candidates]  # (b, C, T)
    keys = (rows[:, None, None] * n_nodes + nodes) * width + columns
    edges = np.unique(keys[nodes >= 0])
    origins, fanout = np.unique(edges // width, return_counts=True)
    branch = origins[fanout > 1]
    # Every row has its root, so that a lone candidate too has a position.
    needed = np.union1d(branch, rows * n_nodes)
    climbing = branch
    while climbing.size:
        parents = trie.parents[climbing % n_nodes]
        climbing = np.unique((climbing - climbing % n_nodes + parents)[parents >= 0])
        needed = np.union1d(needed, climbing)
    return Branching(edges, branch, needed)
