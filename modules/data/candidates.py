"""What the direct task ranks: held-out item and negatives, the same for a model and a baseline.

They depend on the data set, the seed and the number of negatives, and on nothing of a model.
"""

import hashlib
from pathlib import Path

import numpy as np

from modules.data.dataset import HeldOut, RecDataset
from modules.data.negatives import NegativeSampler, shuffled_candidates
from modules.randomness import Stream, rng
from utils import distributed
from utils.console import say
from utils.errors import UserError
from utils.files import write_text


def valid_candidates(
    dataset: RecDataset, users: np.ndarray, negative_num: int, seed: int, draw: int = 0
) -> np.ndarray:
    """Each user's validation item among drawn negatives, shuffled: (n, negative_num + 1). draw:
    another number gives other negatives."""
    generator = rng(seed, Stream.VALID_CANDIDATES, draw)
    negatives = NegativeSampler(dataset, negative_num).draw(users, generator)
    return shuffled_candidates(dataset.targets(users, HeldOut.VALIDATION), negatives, generator)


def test_candidates(
    dataset: RecDataset, users: np.ndarray, negative_num: int, seed: int, folder: Path | None
) -> tuple[np.ndarray, str]:
    """Each user's test item among its negatives, shuffled: (n, negative_num + 1), and the source.

    Negatives are those of negative.txt. Where the data folder has none they are drawn from the
    run's seed, for all users, and kept as ``negative.txt`` in the run's folder. A published line
    can hold a negative twice, and so can a row here: what ranks it counts an item once
    (``each_once``).

    folder: None = nothing is kept, nor said.
    """
    if dataset.negatives is not None:
        have = dataset.negatives.shape[1]
        if negative_num > have:
            raise UserError(
                f"--negative_num {negative_num}: {dataset.folder / 'negative.txt'} holds {have} "
                "negatives a user. Ask for no more, or move the file away to have them drawn."
            )
        negatives, source = dataset.negatives[:, :negative_num], "negative.txt of the data folder"
    else:
        sampler = NegativeSampler(dataset, negative_num)
        negatives = sampler.draw(dataset.users, rng(seed, Stream.TEST_NEGATIVES))
        kept = folder / "negative.txt" if folder else None
        if kept and distributed.is_main():
            lines = np.concatenate([dataset.users[:, None], negatives], axis=1).tolist()
            write_text(kept, "".join(" ".join(map(str, line)) + "\n" for line in lines))
        source = f"drawn with seed {seed}, kept in {kept}"
    if folder:
        say(f"negatives: {source}")
    # Drawn for everyone, so that --limit_users changes nobody's list.
    order = rng(seed, Stream.TEST_ORDER)
    candidates = shuffled_candidates(dataset.test_items.astype(np.int64), negatives, order)
    return candidates[users - 1], source


def fingerprint(candidates: np.ndarray) -> str:
    """SHA-256 of (n, C) candidates, whatever their order in a row: are two runs' the same?"""
    rows = np.sort(np.asarray(candidates, dtype="<i8"), axis=1)
    return hashlib.sha256(repr(rows.shape).encode() + rows.tobytes()).hexdigest()
