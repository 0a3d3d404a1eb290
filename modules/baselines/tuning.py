"""Baselines tuned, ranked and written as a model's evaluation is: same users, targets, candidates,
negatives, metrics and files.

Tuned on validation alone: the item before last, from the items before it. Fitted on the train
interactions, for validation and for the test; only the history that is scored grows by an item.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from modules.baselines.folder import check_baseline_folder, start_baseline
from modules.baselines.simple import Baseline, Scorer
from modules.data.candidates import test_candidates, valid_candidates
from modules.data.dataset import HeldOut, RecDataset
from modules.data.histories import train_matrix, weighted_histories
from modules.evaluation.record import ranking_figures, ranking_rows
from modules.evaluation.reranking import Ranked, Seconds
from modules.evaluation.seen import (
    DROP,
    KEEP,
    Tested,
    dropped_items,
    users_to_test,
    validated_users,
)
from modules.randomness import Stream, rng
from modules.reports.page import write_report
from modules.runs.writing import write_results
from utils.console import by_product, progress, say
from utils.files import sweep
from utils.locks import LOCK_FILE, locked
from utils.metrics.catalogue import catalogue_figures
from utils.metrics.ranking import NOT_RANKED, ndcg

_USERS_AT_A_TIME = 512


class Arena(NamedTuple):
    """What all baselines of a call share."""

    dataset: RecDataset
    train: sparse.csr_matrix  # (U, I + 1)
    tie_place: np.ndarray  # (I + 1,) of two items with equal scores, the lower place goes first
    seed: int
    negative_num: int
    top_n: int
    decays: tuple[float, ...]
    seen: str  # what is done about items that a user had: modules/evaluation/seen.py
    tested: Tested
    validated: np.ndarray  # (v,) users whose validation item is ranked in the catalogue
    validation_seen: str  # as ``seen``, in that ranking


class RankedExactly(NamedTuple):
    """Lists of n users, and the exact rank of their targets."""

    items: np.ndarray  # (n, k) best first, 0 behind the end of a short list
    scores: np.ndarray  # (n, k)
    ranks: np.ndarray  # (n,) exact 0-based rank of the target among all candidates

    def of(self, users: np.ndarray) -> "RankedExactly":
        """The rows of these users, where there is a row for each."""
        return RankedExactly(*(part[users - 1] for part in self))


class Choice(NamedTuple):
    """One setting of a baseline for one task, and how well it did on validation."""

    setting: dict[str, Any]
    decay: float
    ndcg: float  # NDCG@10


def make_arena(
    dataset: RecDataset,
    seed: int,
    negative_num: int,
    top_n: int,
    decays: tuple[float, ...],
    seen: str = DROP,
) -> Arena:
    """Equal scores go by popularity, then by chance: never by number, which would leak.

    seen: what is done about items that a user had; how many test items these are is said.
    """
    train = train_matrix(dataset)
    counts = np.asarray(train.sum(axis=0)).ravel()
    place = np.empty(len(counts), dtype=np.int64)
    place[np.lexsort((rng(seed, Stream.TIES).random(len(counts)), -counts))] = range(len(counts))
    tested = users_to_test(dataset, dataset.users, seen)
    validated, how = validated_users(dataset, dataset.users, seen)
    return Arena(
        dataset, train, place, seed, negative_num, top_n, decays, seen, tested, validated, how
    )


# ---------------------------------------------------------------------------------- ranking


def rank_rows(
    scores: np.ndarray, items: np.ndarray, place: np.ndarray, targets: np.ndarray, k: int
) -> RankedExactly:
    """Rank b rows of n candidates.

    Args:
        scores: (b, n), -inf for an item that must not be recommended.
        items: (b, n), or (1, n) for all rows.
        place: (I + 1,) of two items with equal scores, the one of the lower place comes first.
        targets: (b,) each among its row's items.
        k: length of the lists; 0 = ranks only, which is far faster.
    """
    b, n = scores.shape
    k = min(k, n)
    at = np.broadcast_to((items == targets[:, None]).argmax(axis=1), b)[:, None]
    own = np.take_along_axis(scores, at, axis=1)
    places = place[items]
    ahead = (scores > own) | ((scores == own) & (places < place[targets][:, None]))
    ranks = np.where(np.isfinite(own[:, 0]), ahead.sum(axis=1), NOT_RANKED)
    best = np.empty((b, k), dtype=np.int64)
    if k:
        least = np.partition(scores, n - k, axis=1)[:, n - k]
        places = np.broadcast_to(places, scores.shape)
        for row in range(b):
            good = np.flatnonzero(scores[row] >= least[row])
            best[row] = good[np.lexsort((places[row, good], -scores[row, good]))[:k]]
    listed = np.take_along_axis(scores, best, axis=1)
    chosen = np.take_along_axis(np.broadcast_to(items, scores.shape), best, axis=1)
    return RankedExactly(np.where(np.isfinite(listed), chosen, 0), listed, ranks)


def rank_all(
    arena: Arena,
    score: Scorer,
    histories: sparse.csr_matrix,
    held_out: HeldOut,
    k: int,
    candidates: np.ndarray | None = None,
) -> RankedExactly:
    """Rank every user's candidates, or the catalogue: but for ``KEEP``, without what the user
    already had.

    Args:
        histories: (U, I + 1) weighted, as the scorer takes them.
        held_out: which item is the target.
        k: length of the lists; 0 = ranks only.
        candidates: (U, C); None = the catalogue.
    """
    dataset = arena.dataset
    users = dataset.users
    targets = dataset.targets(users, held_out).astype(np.int64)
    last = dataset.items[dataset.offsets[1:] - held_out - 1]
    seen = arena.seen if held_out == HeldOut.TEST else arena.validation_seen
    had = None if seen == KEEP else weighted_histories(dataset, held_out, 1.0)
    catalogue = np.arange(dataset.n_items + 1)[None]
    parts = []
    bar = progress(dataset.n_users, "ranking", "user")
    for start in range(0, dataset.n_users, _USERS_AT_A_TIME):
        rows = slice(start, start + _USERS_AT_A_TIME)
        scores = score(histories[rows], last[rows])
        if candidates is None:
            items = catalogue
            scores[:, 0] = -np.inf  # no item
            if had is not None:
                scores[had[rows].nonzero()] = -np.inf
        else:
            items = candidates[rows]
            scores = np.take_along_axis(scores, items, axis=1)
        parts.append(rank_rows(scores, items, arena.tie_place, targets[rows], k))
        bar.update(len(scores))
    bar.close()
    return RankedExactly(*(np.concatenate(part) for part in zip(*parts)))


def _task_histories(arena: Arena, task: str, held_out: HeldOut, decay: float) -> sparse.csr_matrix:
    """The direct task knows the train items, whatever it is tested on, and no order."""
    if task == "direct":
        return arena.train
    return weighted_histories(arena.dataset, held_out, decay)


# ----------------------------------------------------------------------------------- tuning


def _fit(arena: Arena, baseline: Baseline, setting: dict[str, Any]) -> Scorer:
    seen = arena.dataset if baseline.ordered else arena.train
    return baseline.fit(seen, seed=arena.seed, **setting)


def tune(arena: Arena, baseline: Baseline) -> dict[str, list[Choice]]:
    """Every setting's NDCG@10 on validation, by task, best first."""
    users = arena.dataset.users
    choices: dict[str, list[Choice]] = {task: [] for task in baseline.tasks}
    negatives = valid_candidates(arena.dataset, users, arena.negative_num, arena.seed)
    for setting in baseline.settings:
        score = _fit(arena, baseline, setting)
        for task in baseline.tasks:
            recency = task == "sequential" and baseline.weighs_recency
            for decay in arena.decays if recency else (1.0,):
                histories = _task_histories(arena, task, HeldOut.VALIDATION, decay)
                candidates = negatives if task == "direct" else None
                ranks = rank_all(arena, score, histories, HeldOut.VALIDATION, 0, candidates).ranks
                if task == "sequential":
                    ranks = ranks[arena.validated - 1]
                quality = ndcg(ranks, 10)
                choices[task].append(Choice(setting, decay, quality))
                say(f"  {task}, {setting}, decay {decay:g}: validation NDCG@10 {quality:.4f}")
        del score  # which may be a matrix of items by items: never two at a time
    # A stable sort: of equally good settings, the one that comes first.
    return {task: sorted(tried, key=lambda c: -c.ndcg) for task, tried in choices.items()}


# ------------------------------------------------------------------------------------- test


def run_baseline(
    arena: Arena,
    name: str,
    baseline: Baseline,
    folder: Path,
    arguments: dict[str, Any],
    trec: bool,
) -> None:
    """Tune, fit, test, write ``<task>.json`` and ``<task>.jsonl`` of every task to ``folder``.

    Raises:
        UserError: where the folder holds something else, or another process writes there.
    """
    with locked(folder / LOCK_FILE, f"--checkpoint {folder}"):
        check_baseline_folder(folder, name)
        sweep(folder)
        say(f"{name}: tuning on validation")
        started = time.perf_counter()
        tried = tune(arena, baseline)
        tuned = time.perf_counter() - started
        own = start_baseline(folder, name, baseline.title, arena.dataset, arena.seed, arguments)
        fitted: tuple[dict[str, Any], Scorer] | None = None
        for task, choices in tried.items():
            best = choices[0]
            if fitted is None or fitted[0] != best.setting:
                fitted = None  # one matrix in memory at a time
                fitted = best.setting, _fit(arena, baseline, best.setting)
            result, rows = _test(arena, task, fitted[1], best, folder)
            result |= {
                "item_ids": baseline.item_ids,
                "tuning": [choice._asdict() for choice in choices],
                "seconds": {"tuning": tuned, **result["seconds"]},
                **own,
            }
            write_results(folder, task, result, rows, trec)
            with by_product("report.html"):
                write_report(folder)


def _test(
    arena: Arena, task: str, score: Scorer, best: Choice, folder: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    dataset = arena.dataset
    users = arena.tested.users
    targets = dataset.targets(users, HeldOut.TEST).astype(np.int64)
    started = time.perf_counter()
    histories = _task_histories(arena, task, HeldOut.TEST, best.decay)
    whole = rank_all(arena, score, histories, HeldOut.TEST, arena.top_n).of(users)
    ranked, candidates = whole, dataset.catalogue
    dropped: list[np.ndarray] | None = dropped_items(dataset, users, HeldOut.TEST, arena.seen)
    result: dict[str, Any] = {}
    if task == "direct":
        drawn, source = test_candidates(
            dataset, dataset.users, arena.negative_num, arena.seed, folder
        )
        ranked = rank_all(arena, score, histories, HeldOut.TEST, arena.top_n, drawn).of(users)
        candidates, dropped = drawn[users - 1], None
        result["negatives"] = source
    lists = Ranked(ranked.items, ranked.scores, Seconds(0.0, 0.0, 0.0))
    result |= {
        "users": len(users),
        "target_seen": arena.tested.target_seen,
        "dataset": dataset.name,
        "protocol": "clean",
        "held_out_edges_seen": 0,
        "held_out_records_seen": 0,
        "decode": "exact",
        "seed": arena.seed,
        "setting": {**best.setting, "decay": best.decay},
        "seconds": {"ranking": time.perf_counter() - started},
        **ranking_figures(lists.items, targets, candidates, arena.top_n, dropped),
        "catalogue": catalogue_figures(
            whole.ranks,
            whole.items,
            dataset.popularity[1:],
            dataset.lengths[users - 1] - (HeldOut.VALIDATION if task == "direct" else HeldOut.TEST),
            targets,
        ),
    }
    return result, ranking_rows(dataset, users, lists, targets)
