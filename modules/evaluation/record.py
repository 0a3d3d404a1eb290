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
from utils.metrics.catalogue import catalogue_figures
from utils.metrics.ranking import ranking_metrics
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


def ranking_record(run: Run, ranking: Ranking, arguments: dict[str, Any]) -> dict[str, Any]:
    """The record of a ranking, metrics and the fingerprint of the candidates included."""
    ranked, method = ranking.ranked, ranking.ranker.decoding.method
    record = result_record(run, arguments, method, len(ranked.items), ranked.seconds)
    return record | ranking_figures(ranked, ranking.targets, ranking.candidates)


def ranking_figures(ranked: Ranked, targets: np.ndarray, candidates: np.ndarray) -> dict[str, Any]:
    """The metrics of n lists with (n,) targets, and the fingerprint of what was ranked."""
    metrics = ranking_metrics(rank_of(ranked.items, targets))
    return {"metrics": metrics, "candidates": fingerprint(candidates)}


def catalogue_record(
    run: Run, ranking: Ranking, held_out: HeldOut, added: AddedScores | None = None
) -> dict[str, Any]:
    """The entry "catalogue": exact ranks of the test items, and what the lists are like.

    Args:
        ranking: its lists are of the whole catalogue.
        held_out: the prompts know what comes before this one.
        added: as in ``Ranker.rank``.
    """
    dataset, users, targets = run.dataset, ranking.samples.users, ranking.targets
    # An item that is bought again is a target all the same.
    had = [own[own != t] for own, t in zip(dataset.had(users, HeldOut.TEST), targets)]
    ranks = ranking.ranker.places(ranking.samples, targets, had, added)
    lengths, popularity = dataset.lengths[users - 1] - held_out, dataset.popularity[1:]
    lists = ranking.ranked.items
    return {"catalogue": catalogue_figures(ranks, lists, popularity, lengths, targets)}


def ranking_rows(
    dataset: RecDataset, users: np.ndarray, ranked: Ranked, targets: np.ndarray
) -> list[dict[str, Any]]:
    """A row a user for ``<task>.jsonl``: ids are the data folder's own, and the original ones.

    A row also says what a reader of the list asks next: how many items its user had before the
    test item, the last of them, and how many users had the test item in train.
    """
    rows = []
    ranks = rank_of(ranked.items, targets)
    lines = zip(users, ranked.items, ranked.scores, targets, ranks)
    for user, line, scores, target, rank in lines:
        listed = line[line > 0].tolist()
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
    return rows
