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
from modules.baselines.ranking import RankedExactly, batches_of_users, rank_rows, tie_places
from modules.baselines.scorer import Scorer, ask
from modules.baselines.simple import Baseline
from modules.data.candidates import test_candidates, valid_candidates
from modules.data.dataset import HeldOut, RecDataset
from modules.data.histories import train_matrix, weighted_histories
from modules.data.negatives import each_once
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
from modules.reports.page import write_report
from modules.runs.writing import write_results
from utils.console import by_product, progress, say
from utils.errors import UserError
from utils.files import sweep
from utils.locks import LOCK_FILE, locked
from utils.metrics.catalogue import catalogue_figures
from utils.metrics.ranking import ndcg


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


class Known(NamedTuple):
    """What is known of every user, or of some, when a task is asked."""

    histories: sparse.csr_matrix  # (n, I + 1) weighted
    until: HeldOut  # they end before this item
    users: np.ndarray | None = None  # (n,) whose they are; None = everybody's


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
    """seen: what is done about items that a user had; how many test items these are is said."""
    train, place = train_matrix(dataset), tie_places(dataset, seed)
    tested = users_to_test(dataset, dataset.users, seen)
    validated, how = validated_users(dataset, dataset.users, seen)
    return Arena(
        dataset, train, place, seed, negative_num, top_n, decays, seen, tested, validated, how
    )


# ---------------------------------------------------------------------------------- ranking


def rank_all(
    arena: Arena,
    score: Scorer,
    known: Known,
    held_out: HeldOut,
    k: int,
    candidates: np.ndarray | None = None,
) -> RankedExactly:
    """Rank the candidates of every user who is known, or the catalogue: but for ``KEEP``, without
    what the user already had.

    Args:
        known: what the scorer may know.
        held_out: which item is the target.
        k: length of the lists; 0 = ranks only.
        candidates: (n, C), of which one that is in a row twice is ranked once; None = the
            catalogue.
    """
    dataset = arena.dataset
    users = dataset.users if known.users is None else known.users
    targets = dataset.targets(users, held_out).astype(np.int64)
    seen = arena.seen if held_out == HeldOut.TEST else arena.validation_seen
    had = None if seen == KEEP else weighted_histories(dataset, held_out, 1.0, users=users)
    catalogue = np.arange(dataset.n_items + 1)[None]
    parts = []
    bar = progress(len(users), "ranking", "user", shown=known.users is None)
    for rows in batches_of_users(len(users), dataset.n_items):
        scores = score(known.histories[rows], ask(dataset, users[rows], known.until))
        scores[:, 0] = -np.inf  # no item
        if candidates is None:
            items = catalogue
            if had is not None:
                scores[had[rows].nonzero()] = -np.inf
        else:
            items = each_once(candidates[rows])
            scores = np.take_along_axis(scores, items, axis=1)
        parts.append(rank_rows(scores, items, arena.tie_place, targets[rows], k))
        bar.update(len(scores))
    bar.close()
    return RankedExactly(*(np.concatenate(part) for part in zip(*parts)))


def _known(arena: Arena, task: str, held_out: HeldOut, decay: float) -> Known:
    """The direct task knows the train items, whatever it is tested on, all of the same weight."""
    if task == "direct":
        return Known(arena.train, HeldOut.VALIDATION)
    return Known(weighted_histories(arena.dataset, held_out, decay), held_out)


# ----------------------------------------------------------------------------------- tuning


class Fits:
    """A baseline, fitted with one setting at a time: a scorer may be a matrix of items by items,
    and is never in memory twice; the last one is kept, for fitting may take long."""

    def __init__(self, arena: Arena, baseline: Baseline) -> None:
        self.arena, self.baseline = arena, baseline
        self._last: tuple[dict[str, Any], Scorer] | None = None

    def scorer(self, setting: dict[str, Any]) -> Scorer:
        """The scorer of a setting. The caller lets go of the one it had before."""
        if self._last is None or self._last[0] != setting:
            self._last = None
            seen = self.arena.dataset if self.baseline.takes_dataset else self.arena.train
            self._last = setting, self.baseline.fit(seen, seed=self.arena.seed, **setting)
        return self._last[1]


def that_fit(chosen: dict[str, Baseline], train: sparse.csr_matrix) -> dict[str, Baseline]:
    """Baselines by name, with those of their settings that there is memory for; what is left out
    is said.

    Raises:
        UserError: where nothing is left.
    """
    fitting, lacks = {}, []
    for name, baseline in chosen.items():
        settings = []
        for setting in baseline.settings:
            if lack := baseline.lack(train, setting):
                lacks.append(f"{' '.join([name, *map(str, setting.items())])} {lack}")
                say(f"left out: {lacks[-1]}")
            else:
                settings.append(setting)
        if settings:
            fitting[name] = baseline._replace(settings=tuple(settings))
    if not fitting:
        raise UserError(f"--methods {','.join(chosen)}: {lacks[0]}. Name others.")
    return fitting


def tune(fits: Fits) -> dict[str, list[Choice]]:
    """Every setting's NDCG@10 on validation, by task, best first."""
    arena, baseline = fits.arena, fits.baseline
    users = arena.dataset.users
    choices: dict[str, list[Choice]] = {task: [] for task in baseline.tasks}
    negatives = valid_candidates(arena.dataset, users, arena.negative_num, arena.seed)
    for setting in baseline.settings:
        score = fits.scorer(setting)
        for task in baseline.tasks:
            recency = task == "sequential" and baseline.weighs_recency
            for decay in arena.decays if recency else (1.0,):
                known = _known(arena, task, HeldOut.VALIDATION, decay)
                candidates = negatives if task == "direct" else None
                ranks = rank_all(arena, score, known, HeldOut.VALIDATION, 0, candidates).ranks
                if task == "sequential":
                    ranks = ranks[arena.validated - 1]
                quality = ndcg(ranks, 10)
                choices[task].append(Choice(setting, decay, quality))
                say(f"  {task}, {setting}, decay {decay:g}: validation NDCG@10 {quality:.4f}")
        del score
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
        fits = Fits(arena, baseline)
        tried = tune(fits)
        tuned = time.perf_counter() - started
        own = start_baseline(folder, name, baseline.title, arena.dataset, arena.seed, arguments)
        for task, choices in tried.items():
            best = choices[0]
            result, rows = _test(fits, task, best, folder)
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
    fits: Fits, task: str, best: Choice, folder: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    arena, score = fits.arena, fits.scorer(best.setting)
    dataset, users = arena.dataset, arena.tested.users
    targets = dataset.targets(users, HeldOut.TEST).astype(np.int64)
    started = time.perf_counter()
    known = _known(arena, task, HeldOut.TEST, best.decay)
    whole = rank_all(arena, score, known, HeldOut.TEST, arena.top_n).of(users)
    ranked, candidates = whole, dataset.catalogue
    dropped: list[np.ndarray] | None = dropped_items(dataset, users, HeldOut.TEST, arena.seen)
    result: dict[str, Any] = {}
    if task == "direct":
        drawn, source = test_candidates(
            dataset, dataset.users, arena.negative_num, arena.seed, folder
        )
        ranked = rank_all(arena, score, known, HeldOut.TEST, arena.top_n, drawn).of(users)
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
            dataset.lengths[users - 1] - known.until,
            targets,
        ),
    }
    return result, ranking_rows(dataset, users, lists, targets)
