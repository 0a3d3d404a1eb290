"""What an evaluation writes: the record of a run, and a row a user."""

import argparse
from typing import Any

import numpy as np

from modules.data.dataset import RecDataset
from modules.evaluation.ranker import AddedScores, Ranker, Seconds
from modules.loader.evaluation_set import EvalSet
from modules.runs.run import Experiment
from utils.metrics.catalogue import catalogue_figures
from utils.provenance import provenance

LAST_ITEMS = 10  # of a history, in a user's row
TRAINING = ("command", "arguments", "versions", "commit", "resumed")  # of run.json, with a result


def result_record(
    experiment: Experiment,
    run: dict[str, Any],
    args: argparse.Namespace,
    decode: str,
    n_rows: int,
    loading: float,
    seconds: Seconds,
) -> dict[str, Any]:
    """All of a result but its metrics: protocol, arguments, seed, versions, times.

    decode: how the lists or texts were found, whatever the flag left open.
    """
    trained = run["arguments"]
    return {
        "users": n_rows,
        "dataset": experiment.dataset.name,
        "protocol": trained["protocol"],
        "item_ids": trained["item_ids"],
        "held_out_edges_seen": run["held_out_edges_seen"],
        "held_out_records_seen": run["held_out_records_seen"],
        "decode": decode,
        "seed": experiment.seed,
        "seconds": {"loading": loading, "encoding": seconds.encode, "decoding": seconds.decode},
        **provenance(vars(args)),
        "training": {key: run[key] for key in TRAINING if key in run},
    }


def catalogue_record(
    experiment: Experiment,
    ranker: Ranker,
    samples: EvalSet,
    lists: np.ndarray,
    history_lengths: np.ndarray,
    linear: AddedScores | None = None,
) -> dict[str, Any]:
    """What stands under "catalogue": exact ranks of the test items, and what the lists are like.

    Args:
        samples: n users, whose targets are their test items.
        lists: (n, k) of the whole catalogue.
        history_lengths: (n,) items that the prompts may tell of.
    """
    dataset, users = experiment.dataset, samples.users
    targets = dataset.test_items[users - 1]
    had = [dataset.history(user)[:-1] for user in users]
    # An item that is bought again is a target all the same.
    had = [own[own != target] for own, target in zip(had, targets)]
    ranks = ranker.places(samples, targets, had, linear)
    popularity = np.bincount(dataset.train_pairs()[1], minlength=dataset.n_items + 1)[1:]
    return catalogue_figures(ranks, lists, popularity, history_lengths, targets)


def ranking_rows(
    dataset: RecDataset,
    users: np.ndarray,
    items: np.ndarray,
    scores: np.ndarray,
    targets: np.ndarray,
    ranks: np.ndarray,
) -> list[dict[str, Any]]:
    """A row a user for ``<task>.jsonl``: ids are the data folder's own, and the original ones.

    A row also says what a reader of the list asks next: how many items its user had before the
    test item, the last of them, and how many users had the test item in train.
    """
    popularity = np.bincount(dataset.train_pairs()[1], minlength=dataset.n_items + 1)
    rows = []
    for user, line, line_scores, target, rank in zip(users, items, scores, targets, ranks):
        listed = line[line > 0].tolist()
        had = dataset.history(user)[:-1]
        rows.append(
            {
                "user": int(user),
                "user_id": dataset.user_names[user],
                "items": listed,
                "item_ids": [dataset.item_names[item] for item in listed],
                "scores": [round(float(score), 6) for score in line_scores[: len(listed)]],
                "target": int(target),
                "target_id": dataset.item_names[target],
                "target_users": int(popularity[target]),
                "history_length": len(had),
                "last_item_ids": [dataset.item_names[item] for item in had[-LAST_ITEMS:]],
                "rank": int(rank) if rank >= 0 else None,
            }
        )
    return rows
