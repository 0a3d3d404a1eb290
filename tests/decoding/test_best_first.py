"""Best-first search against the enumeration of all items, on random models and tries."""

import numpy as np
import pytest
import torch

from modules.decoding.best_first import branches, count_prefixes, rank_best_first
from modules.decoding.exact import prefix_tree, rank_exact
from modules.evaluation.decode import MAX_PREFIXES, pick_method
from modules.loader.ragged import Ragged
from modules.loader.trie import build_trie
from modules.model.decoder import PrefixDecoder
from tests.conftest import random_t5

END = 1


def random_targets(rng: np.random.Generator, n_items: int, alphabet: int, depth: int) -> Ragged:
    """Distinct token strings of 1 to ``depth`` tokens, end mark added; row 0 is no item."""
    rows = set()
    while len(rows) < n_items:
        rows.add(tuple(rng.integers(2, 2 + alphabet, size=rng.integers(1, depth + 1)).tolist()))
    return Ragged.of([[END], *([*row, END] for row in rows)])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("width", [1, 3, 16])
def test_equals_enumeration(seed: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    n_items = int(rng.integers(1, 200))
    targets = random_targets(rng, n_items, alphabet=int(rng.integers(7, 30)), depth=4)
    trie = build_trie(targets, start_token=0)
    t5 = random_t5(40, seed)
    torch.manual_seed(seed)
    states, mask = torch.randn(5, 7, 32), torch.ones(5, 7, dtype=torch.long)
    mask[2, 4:] = 0
    vocabulary = torch.from_numpy(trie.vocabulary)
    k = min(10, n_items)
    with torch.no_grad():
        everything = rank_exact(
            PrefixDecoder(t5, states, mask, 8),
            prefix_tree(trie, np.arange(1, n_items + 1)[None]),
            vocabulary,
        )
        items, scores = rank_best_first(
            PrefixDecoder(t5, states, mask, 8), branches(trie), vocabulary, k, width
        )
    best, order = everything.topk(k, dim=1)
    torch.testing.assert_close(scores, best, atol=1e-5, rtol=1e-5)
    gaps = (best[:, :-1] - best[:, 1:]).min() if k > 1 else torch.tensor(1.0)
    assert gaps > 1e-6  # no ties, so that the lists must be the same
    assert torch.equal(items, order + 1)


def test_prefixes_of_a_trie_by_hand() -> None:
    # 2 -> (3 | 4 | end), 5 -> 6 -> (7 | 8): root, [2], [5, 6] branch, [5] leads to one that does.
    targets = Ragged.of([[END], [2, 3, END], [2, 4, END], [2, END], [5, 6, 7, END], [5, 6, 8, END]])
    trie = build_trie(targets, start_token=0)
    tree = branches(trie)
    assert count_prefixes(trie) == len(tree.tokens) == 4
    assert tree.tokens.tolist() == [0, 2, 5, 6]
    assert tree.depths.tolist() == [0, 1, 1, 2]
    follow = {
        (n, int(trie.vocabulary[tree.columns[e]])): int(tree.targets[e])
        for n in range(4)
        for e in range(tree.starts[n], tree.starts[n + 1])
    }
    assert follow == {
        (0, 2): 1,
        (0, 5): 2,
        (1, END): -3,
        (1, 3): -1,
        (1, 4): -2,
        (2, 6): 3,
        (3, 7): -4,
        (3, 8): -5,
    }


def test_a_large_trie_gives_way_to_best_first() -> None:
    n = MAX_PREFIXES + 1  # n items [i, 2 | 3]: the root and n prefixes branch
    rows = [[i, last, END] for i in range(10, 10 + n) for last in (2, 3)]
    trie = build_trie(Ragged.of([[END], *rows]), start_token=0)
    assert count_prefixes(trie) == n + 1
    assert pick_method("exact", trie) == "best_first"
    assert pick_method("auto", trie) == "best_first"
    assert pick_method("beam", trie) == "beam"
