"""Recommenders of a few lines each, which a model must beat to be worth its GPU.

Each is fitted on the train interactions and gives a ``Scorer``: weighted histories in, a score for
every item out. Larger ones have files of their own. How they are tuned, ranked and written is in
modules/baselines/tuning.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from modules.baselines.scorer import Asked, Scorer
from modules.data.dataset import RecDataset
from modules.data.item_graph import MAX_ITEMS, linear_weights
from modules.data.pairs import largest, stretches_of
from utils.errors import UserError
from utils.memory import lack_of_memory

MAX_EASE_ITEMS = 40_000  # of more, the inverse takes an hour
_PAIRS = 1 << 24  # of items, at a time
_BLOCK = 512  # rows or columns handled at a time, so that temporaries stay small


class Baseline(NamedTuple):
    """One baseline, and what is tried on the validation items."""

    title: str  # in tables and reports
    fit: Callable[..., Scorer]  # (train, seed=..., **one of settings)
    settings: tuple[dict[str, Any], ...] = ({},)
    weighs_recency: bool = False
    takes_dataset: bool = False  # fitted on the data set, in place of the train matrix
    by_name: bool = False  # tried only where it is asked for: takes long, or a package
    tasks: tuple[str, ...] = ("sequential", "direct")
    needs: Callable[..., int] = lambda train, **setting: 0  # bytes; what is small is not counted
    item_ids: str = "not used"  # "published": reads something out of the numbers themselves

    def lack(self, train: sparse.csr_matrix, setting: dict[str, Any]) -> str | None:
        """Why a setting cannot be fitted: it ...; None where it can."""
        return lack_of_memory(self.needs(train, **setting))


def popularity(train: sparse.csr_matrix, *, seed: int) -> Scorer:
    """Everybody gets the items that most users had."""
    counts = np.asarray(train.sum(axis=0), dtype=np.float32)
    return lambda histories, asked: np.repeat(counts, histories.shape[0], axis=0)


def item_knn(train: sparse.csr_matrix, *, seed: int, neighbours: int | None) -> Scorer:
    """Sum of the cosines between an item and those of the history, each weighted.

    cos(i, j) = |users of both| / sqrt(|users of i| |users of j|); of each item of the history
    the ``neighbours`` nearest count, or all.
    """
    counts = np.asarray(train.sum(axis=0)).ravel()
    across, blocks = train.T.tocsr(), []
    for first, last in stretches_of(across @ np.diff(train.indptr), _PAIRS):
        together = (across[first:last] @ train).tocoo()
        keep = together.row + first != together.col
        rows, columns = together.row[keep], together.col[keep]
        sizes = counts[rows + first] * counts[columns]
        cosines = (together.data[keep] / np.sqrt(sizes)).astype(np.float32)
        block = sparse.csr_matrix((cosines, (rows, columns)), together.shape)
        blocks.append(block if neighbours is None else largest(block, neighbours))
    similarity = sparse.vstack(blocks, format="csr")
    return lambda histories, asked: (histories @ similarity).toarray()


def _pairs(train: sparse.csr_matrix) -> int:
    """Pairs of items that a user has both of, at most."""
    return min(int(np.square(np.diff(train.indptr)).sum()), train.shape[1] ** 2)


def _knn_needs(train: sparse.csr_matrix, neighbours: int | None) -> int:
    most = _pairs(train) if neighbours is None else neighbours * train.shape[1]
    return 16 * min(most, _pairs(train))  # a number and a place each, and once more put together


def _ease_needs(train: sparse.csr_matrix, l2: float) -> int:
    return 4 * train.shape[1] ** 2 + 12 * _pairs(train)


def _linear_needs(train: sparse.csr_matrix, **setting: float) -> int:
    n = train.shape[1]
    return 8 * n**2 if n <= MAX_ITEMS else 0


def ease(train: sparse.csr_matrix, *, seed: int, l2: float) -> Scorer:
    """EASE (Steck, "Embarrassingly Shallow Autoencoders", WWW 2019), one matrix in memory.

    P = (X^T X + l2 I)^-1, B_ij = -P_ij / P_jj, B_jj = 0; scores are the history's rows of B. The
    inverse is Cholesky's, in float32, in the place of the Gram matrix.

    Raises:
        UserError: where there are more than ``MAX_EASE_ITEMS``.
    """
    n = train.shape[1]
    if n > MAX_EASE_ITEMS:
        raise UserError(
            f"--methods ease: {n - 1:,} items make a matrix of {4e-9 * n * n:.0f} GB; at most "
            f"{MAX_EASE_ITEMS:,} items are taken. Leave ease out of --methods."
        )
    matrix = (train.T @ train).toarray()
    matrix.flat[:: n + 1] += l2
    # LAPACK reads columns first: the lower half of the transpose is our upper half.
    factor, failed = lapack.spotrf(matrix.T, lower=1, overwrite_a=1)
    if not failed:
        inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise UserError(f"--ease_l2 {l2}: too small, the matrix has no inverse in float32.")
    matrix = inverse.T
    for a in range(0, n, _BLOCK):
        b = a + _BLOCK
        matrix[b:, a:b] = matrix[a:b, b:].T
        square = matrix[a:b, a:b]
        square[:] = np.triu(square) + np.triu(square, 1).T
    matrix /= -matrix.diagonal().copy()
    matrix.flat[:: n + 1] = 0.0
    return lambda histories, asked: histories @ matrix


def matrix_factorisation(
    train: sparse.csr_matrix, *, seed: int, factors: int, alpha: float
) -> Scorer:
    """Implicit-feedback ALS (Hu, Koren & Volinsky, ICDM 2008), by the package ``implicit``.

    A user's vector is solved for from the weighted history, so that it may end after train.
    alpha: confidence of an interaction.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError as error:
        _lacks("matrix_factorisation", "implicit", error)
    model = AlternatingLeastSquares(
        factors, regularization=0.05, alpha=alpha, iterations=15, random_state=seed
    )
    model.fit(train, show_progress=False)

    def score(histories: sparse.csr_matrix, asked: Asked) -> np.ndarray:
        users = model.recalculate_user(np.arange(histories.shape[0]), histories)
        return users @ model.item_factors.T

    return score


def linear_next_items(
    dataset: RecDataset, *, seed: int, l2: float, past: float, future: float
) -> Scorer:
    """See modules/data/item_graph.py: unlike the others it knows what came before what."""
    matrix = linear_weights(dataset, l2, past, future)
    if sparse.issparse(matrix):
        return lambda histories, asked: (histories @ matrix).toarray()
    return lambda histories, asked: histories @ matrix


def next_number(train: sparse.csr_matrix, *, seed: int) -> Scorer:
    """The number after the last item's, then the one after that, and so on, round the catalogue.

    Knows nothing of what people like: in the published numbering the next item is often the next
    number, and what this rule finds is that leak (docs/protocols.md).
    """
    n_items = train.shape[1] - 1
    numbers = np.arange(n_items + 1)

    def score(histories: sparse.csr_matrix, asked: Asked) -> np.ndarray:
        return -((numbers - asked.last[:, None] - 1) % n_items).astype(np.float32)

    return score


def lightgcn(dataset: RecDataset, *, seed: int, layers: int) -> Scorer:
    """See modules/baselines/lightgcn.py."""
    from modules.baselines.lightgcn import fit_lightgcn  # which imports torch

    return fit_lightgcn(dataset, seed, layers)


def sasrec(dataset: RecDataset, *, seed: int, width: int, dropout: float) -> Scorer:
    """See modules/baselines/sasrec.py."""
    try:
        from modules.baselines.sasrec import fit_sasrec
    except ImportError as error:
        _lacks("sasrec", "'rectools[torch]'", error)
    return fit_sasrec(dataset, seed, width, dropout)


def _lacks(method: str, package: str, error: ImportError) -> NoReturn:
    raise UserError(
        f"--methods {method} needs the package {package}, which is not installed ({error}). Run "
        f"`pip install {package}`, or leave the method out."
    ) from error


EASE_L2 = (100.0, 200.0, 500.0, 1000.0)
DECAYS = (1.0, 0.8, 0.6, 0.4)  # weight of an item by that of the one after it
BASELINES = {
    "popularity": Baseline("popularity", popularity),
    "item_knn": Baseline(
        "item-kNN",
        item_knn,
        tuple({"neighbours": k} for k in (100, 200, None)),
        weighs_recency=True,
        needs=_knn_needs,
    ),
    "ease": Baseline(
        "EASE",
        ease,
        tuple({"l2": value} for value in EASE_L2),
        weighs_recency=True,
        needs=_ease_needs,
    ),
    "linear": Baseline(
        "linear",
        linear_next_items,
        tuple({"l2": 30.0, "past": decay, "future": decay} for decay in (0.5, 0.7)),
        weighs_recency=True,
        tasks=("sequential",),
        takes_dataset=True,
        needs=_linear_needs,
    ),
    "next_number": Baseline(
        "next number", next_number, tasks=("sequential",), item_ids="published"
    ),
    "matrix_factorisation": Baseline(
        "matrix factorisation",
        matrix_factorisation,
        tuple({"factors": f, "alpha": a} for f in (64, 128) for a in (10.0, 40.0)),
        weighs_recency=True,
        by_name=True,
    ),
    "lightgcn": Baseline(
        "LightGCN",
        lightgcn,
        tuple({"layers": layers} for layers in (2, 3)),
        takes_dataset=True,
        by_name=True,
    ),
    "sasrec": Baseline(
        "SASRec", sasrec, ({"width": 64, "dropout": 0.5},), takes_dataset=True, by_name=True
    ),
}
DEFAULT_METHODS = tuple(name for name, baseline in BASELINES.items() if not baseline.by_name)
