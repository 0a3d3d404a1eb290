"""An evaluation: what the direct task asks, the record of a result, and a row a user."""

from typing import Any, NamedTuple

import numpy as np

from modules.data.candidates import fingerprint
from modules.data.dataset import HeldOut, RecDataset
from modules.evaluation.ranker import AddedScores, Ranker
from modules.evaluation.reranking import Ranked, Seconds, rank_of
from modules.loader.batches import BatchSize
from modules.loader.evaluation_set import EvaluationSet
from modules.loader.ragged import recent_histories
from modules.runs.run import Run
from utils.console import say
from utils.metrics.catalogue import catalogue_figures
from utils.metrics.ranking import known_cutoffs, ranking_metrics
from utils.provenance import provenance

LAST_ITEMS = 10  # of a history, in a user's row
TRAINING = ("command", "arguments", "versions", "commit", "resumed")  # of run.json, with a result


def direct_samples(
    run: Run, prompt: str, users: np.ndarray, candidates: np.ndarray, size: BatchSize
) -> EvaluationSet:
    """What the direct task asks for (n,) users with (n, C) candidates, by ``topn.py --prompt``:
    ``candidates`` lists them, ``history`` holds what comes before both held-out items."""
    targets = run.dataset.targets(users, HeldOut.TEST)
    if prompt == "history":
        histories = recent_histories(run.dataset, users, HeldOut.VALIDATION)
        return run.prompts.sequential(users, histories, targets, size)
    return run.prompts.direct(users, candidates, targets, size)


def result_record(
    run: Run, arguments: dict[str, Any], decode: str, n_rows: int, seconds: Seconds
) -> dict[str, Any]:
    """All of a result but its metrics: protocol, arguments, seed, versions, times.

    Args:
        arguments: of the evaluation, by the names of its flags.
        decode: how the lists or texts were found, whatever the flag left open.
    """
    record = run.record.as_json()
    return {
        "users": n_rows,
        "dataset": run.dataset.name,
        "protocol": record["arguments"]["protocol"],
        "item_ids": record["arguments"]["item_ids"],
        "held_out_edges_seen": run.record.held_out_edges_seen,
        "held_out_records_seen": run.record.held_out_records_seen,
        "decode": decode,
        "seed": run.record.seed,
        "run_id": run.record.run_id,
        "fingerprints": run.dataset.fingerprints,
        "seconds": dict(zip(("loading", "encoding", "decoding"), seconds)),
        **provenance(arguments | {"precision": run.machine.precision}),
        "training": {key: record[key] for key in TRAINING if key in record},
    }


class Ranking(NamedTuple):
    """An evaluation of a ranking task: what was asked, and the lists."""

    ranker: Ranker
    samples: EvaluationSet  # n users
    targets: np.ndarray  # (n,) their test items
    candidates: np.ndarray  # (n, C), or (1, C) for all
    ranked: Ranked
    top_n: int  # items asked for
    target_seen: int  # modules/evaluation/seen.py
    dropped: list[np.ndarray] | None = None  # n arrays: what is in no list of each user


def ranking_record(run: Run, ranking: Ranking, arguments: dict[str, Any]) -> dict[str, Any]:
    """The record of a ranking, metrics and the fingerprint of the candidates included."""
    ranked, method = ranking.ranked, ranking.ranker.decoding.method
    record = result_record(run, arguments, method, len(ranked.items), ranked.seconds)
    figures = ranking_figures(
        ranked.items, ranking.targets, ranking.candidates, ranking.top_n, ranking.dropped
    )
    return record | {"target_seen": ranking.target_seen} | figures


def ranking_figures(
    lists: np.ndarray,
    targets: np.ndarray,
    candidates: np.ndarray,
    top_n: int,
    dropped: list[np.ndarray] | None = None,
    remedy: str = "A larger --N or more --num_beams fill them.",
) -> dict[str, Any]:
    """The metrics of lists, as deep as the lists go, and the fingerprint of what was ranked.

    Says how many lists are shorter than they could be; what they lack counts as a miss.

    Args:
        lists: (n, k), as in ``Ranked``.
        targets: (n,) items.
        candidates, top_n, dropped: as in ``Ranking``.
        remedy: what to do about short lists.
    """
    lengths, there = (lists != 0).sum(axis=1), _listable(candidates, dropped)
    short = int((lengths < np.minimum(there, top_n)).sum())
    if short:
        say(
            f"warning: {short:,} of {len(lists):,} lists have fewer than --top_n {top_n} items, "
            f"though there are more: what they lack counts as a miss. {remedy}"
        )
    whole = bool((lengths == there).all())
    cutoffs = known_cutoffs(int(lengths.max()), whole)
    return {
        "metrics": ranking_metrics(rank_of(lists, targets), cutoffs),
        "whole_lists": whole,
        "short_lists": short,
        "candidates": fingerprint(candidates),
    }


def _listable(candidates: np.ndarray, dropped: list[np.ndarray] | None) -> np.ndarray:
    """(n,) or (1,) how many different items each list could hold. What is dropped is among the
    candidates."""
    ordered = np.sort(candidates, axis=1)
    different = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)
    return different - np.array([len(np.unique(own)) for own in dropped or [[]]])


def catalogue_record(
    run: Run, ranking: Ranking, held_out: HeldOut, added: AddedScores | None = None
) -> dict[str, Any]:
    """The entry "catalogue": exact ranks of the test items, and what the lists are like.

    Args:
        ranking: its lists are of the whole catalogue, without what is dropped.
        held_out: the prompts know what comes before this one.
        added: as in ``Ranker.rank``.
    """
    dataset, users, targets = run.dataset, ranking.samples.users, ranking.targets
    ranks = ranking.ranker.places(ranking.samples, targets, ranking.dropped, added)
    lengths, popularity = dataset.lengths[users - 1] - held_out, dataset.popularity[1:]
    lists = ranking.ranked.items
    return {"catalogue": catalogue_figures(ranks, lists, popularity, lengths, targets)}


def ranking_rows(
    dataset: RecDataset, users: np.ndarray, ranked: Ranked, targets: np.ndarray
) -> list[dict[str, Any]]:
    """A row a user for ``<task>.jsonl``: ids are the data folder's own, and the original ones.

    Item 0, without an id, is a place that the published search gave to no item. A row also says
    what a reader of the list asks next: how many items its user had before the test item, the last
    of them, and how many users had the test item in train; and, where the data have titles, those
    of its items, by original id.
    """
    rows = []
    ranks = rank_of(ranked.items, targets)
    lines = zip(users, ranked.items, ranked.scores, targets, ranks)
    for user, line, scores, target, rank in lines:
        listed = np.maximum(line[line != 0], 0).tolist()
        had = dataset.history(user)[: -HeldOut.TEST]
        rows.append(
            {
                "user": int(user),
                "user_id": dataset.user_names[user],
                "items": listed,
                "item_ids": [dataset.item_names[item] for item in listed],
                "scores": [round(float(score), 6) for score in scores[: len(listed)]],
                "target": int(target),
                "target_id": dataset.item_names[target],
                "target_users": int(dataset.popularity[target]),
                "history_length": len(had),
                "last_item_ids": [dataset.item_names[item] for item in had[-LAST_ITEMS:]],
                "rank": int(rank) if rank >= 0 else None,
            }
        )
        if dataset.titles:
            shown = [*listed, int(target), *had[-LAST_ITEMS:].tolist()]
            titles = {dataset.item_names[item]: dataset.titles[item] for item in shown}
            rows[-1]["titles"] = {name: title for name, title in titles.items() if title}
    return rows
