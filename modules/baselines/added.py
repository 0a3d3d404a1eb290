"""Lists of another program evaluated as a model's are: same users, targets, candidates, metrics and
files. What the program knew of the held-out items, nobody here can say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modules.baselines.folder import check_baseline_folder, write_baseline
from modules.baselines.lists import Listed, Lists, by_user
from modules.baselines.simple import BASELINES
from modules.data.candidates import test_candidates
from modules.data.dataset import HeldOut, RecDataset
from modules.evaluation.record import ranking_figures, ranking_rows
from modules.evaluation.reranking import Ranked, Seconds, rerank
from modules.evaluation.seen import KEEP, dropped_items, users_to_test
from modules.reports.page import write_report
from modules.runs.kinds import BaselineRecord
from modules.runs.record import run_id_of
from modules.runs.results import BASELINE_FILE
from modules.runs.writing import write_results
from utils.console import by_product, say
from utils.errors import UserError, limit
from utils.files import sweep
from utils.json_files import read_json
from utils.locks import LOCK_FILE, locked
from utils.provenance import provenance

_UNKNOWN = "not known"  # protocol and item numbers of another program


def add_lists(
    dataset: RecDataset, lists: Lists, folder: Path, arguments: Mapping[str, Any]
) -> None:
    """Evaluate the lists, and write ``<task>.json`` and ``<task>.jsonl`` to a baseline's folder.
    The result of another task is kept, where it was added by the same name and seed.

    Raises:
        UserError: naming the line that cannot be used; or where the folder holds something else.
    """
    if lists.name in BASELINES:
        raise UserError(
            f"--name {lists.name}: is the name of a baseline of compare.py baselines. Give another."
        )
    check_baseline_folder(folder, lists.name)
    found = by_user(dataset, lists)
    drawn = None
    if lists.task == "direct":
        count = lists.negative_num
        drawn, _ = test_candidates(dataset, dataset.users, count, lists.seed, None)
        _check_candidates(dataset, lists.path, found, drawn)
    with locked(folder / LOCK_FILE, f"--checkpoint {folder}"):
        check_baseline_folder(folder, lists.name)
        sweep(folder)
        result, rows = _evaluated(dataset, lists, found, drawn)
        own = _record(dataset, lists, arguments)
        before = folder / BASELINE_FILE
        same = before.exists() and read_json(before, BaselineRecord).run_id == own["run_id"]
        if not same:
            write_baseline(folder, own | {"dataset": dataset.name, "seed": lists.seed})
        if drawn is not None:  # kept beside the result, where they were drawn
            count = lists.negative_num
            _, source = test_candidates(dataset, dataset.users, count, lists.seed, folder)
            result["negatives"] = source
        write_results(folder, lists.task, result | own, rows)
        with by_product("report.html"):
            write_report(folder)


def _record(dataset: RecDataset, lists: Lists, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What each result says of the program. Its id is the same for both tasks."""
    name = {"name": lists.name, "seed": lists.seed}
    return {
        "method": lists.name,
        "title": lists.name,
        "fingerprints": dataset.fingerprints,
        "run_id": run_id_of(name, "added", dataset.fingerprints),
        **provenance(arguments),
    }


# --------------------------------------------------------------------------------- evaluation


def _check_candidates(
    dataset: RecDataset, path: Path, found: Mapping[int, list[Listed]], drawn: np.ndarray
) -> None:
    """UserError where a list holds what is not among its user's candidates, (U, C)."""
    for user, rows in found.items():
        own = set(drawn[user - 1].tolist())
        for item, row in rows:
            if item not in own:
                kept = "negative.txt" if dataset.negatives is not None else "those drawn by --seed"
                raise UserError(
                    f"{path}, line {row.line}: item {limit(row.document)} is none of the "
                    f"{drawn.shape[1]} candidates of user {limit(row.query)}: the test item, and "
                    f"{kept}. Rank these (--task direct), or give --task sequential."
                )


def _evaluated(
    dataset: RecDataset,
    lists: Lists,
    found: Mapping[int, list[Listed]],
    drawn: np.ndarray | None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """All of a result but what it says of the program, and its rows."""
    tested = users_to_test(dataset, dataset.users, lists.seen)
    users = tested.users
    without = sum(int(user) not in found for user in users)
    if without:
        say(f"warning: {without:,} of {len(users):,} users have no list: they count as misses")
    dropped = None if drawn is not None else dropped_items(dataset, users, HeldOut.TEST, lists.seen)
    ranked = _lists(lists, users, found, dropped)
    targets = dataset.targets(users, HeldOut.TEST).astype(np.int64)
    candidates = dataset.catalogue if drawn is None else drawn[users - 1]
    figures = ranking_figures(
        ranked.items,
        targets,
        candidates,
        lists.top_n,
        dropped,
        "The program that made the lists can make them longer.",
    )
    result = {
        "users": len(users),
        "target_seen": tested.target_seen,
        "without_list": without,
        "dataset": dataset.name,
        "protocol": _UNKNOWN,
        "item_ids": _UNKNOWN,
        "held_out_edges_seen": 0,
        "held_out_records_seen": 0,
        "decode": "by another program",
        "seed": lists.seed,
        **figures,
    }
    return result, ranking_rows(dataset, users, ranked, targets)


def _lists(
    lists: Lists,
    users: np.ndarray,
    found: Mapping[int, list[Listed]],
    dropped: list[np.ndarray] | None,
) -> Ranked:
    """The lists of n users, without what is dropped, cut at ``--top_n``."""
    rows = [found.get(int(user), []) for user in users]
    items = np.zeros((len(users), max(1, *map(len, rows))), dtype=np.int64)
    scores = np.full(items.shape, -np.inf, dtype=np.float32)
    for place, row in enumerate(rows):
        items[place, : len(row)] = [item for item, _ in row]
        scores[place, : len(row)] = [line.score for _, line in row]
    own = dropped or [items[0, :0]] * len(users)
    had = sum(int(np.isin(line, gone).sum()) for line, gone in zip(items, own))
    if had and lists.seen != KEEP:
        say(f"{had:,} items that their user had before leave the lists (--keep_seen keeps them)")
    ranked = rerank(Ranked(items, scores, Seconds(0.0, 0.0, 0.0)), own, lists.top_n)
    if not ranked.items.any():
        raise UserError(f"{lists.path}: no list of a user who is tested holds an item that counts.")
    return ranked
