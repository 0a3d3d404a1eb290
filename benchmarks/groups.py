"""For whom is one ranking better than another? NDCG@10 by length of the history, and by how many
users have the target in train.

    python -m benchmarks.groups sequential RUN_A[,RUN_A2] RUN_B[,RUN_B2]

Several folders are seeds: a user's figure is their mean. The interval is of the bootstrap over
users.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.measure import print_table
from modules.randomness import Stream, rng
from modules.runs.results import read_result, read_rows
from modules.tasks import RANKING_TASKS
from utils.metrics.ranking import NOT_RANKED, user_ndcg
from utils.metrics.significance import paired_test

LENGTHS = ((0, 4), (5, 6), (7, 10), (11, 10**9))
TARGETS = ((0, 5), (6, 10), (11, 30), (31, 10**9))
TOP = 10


def gains(folders: str, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) mean NDCG@10 of each user over folders, history lengths, users who have the target."""
    found = []
    for folder in map(Path, folders.split(",")):
        rows = read_rows(folder, task, read_result(folder, task))
        ranks = np.array([NOT_RANKED if row.rank is None else row.rank for row in rows])
        found.append(user_ndcg(ranks, TOP))
    lengths = np.array([row.history_length for row in rows])
    return np.mean(found, axis=0), lengths, np.array([row.target_users for row in rows])


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=RANKING_TASKS)
    parser.add_argument("a", help="a run's folder, or several by commas")
    parser.add_argument("b", help="the same, to compare with")
    args = parser.parse_args()
    (a, lengths, targets), (b, _, _) = (gains(folders, args.task) for folders in (args.a, args.b))
    rows = []
    for name, values, groups in (("history", lengths, LENGTHS), ("target", targets, TARGETS)):
        for low, high in groups:
            own = (values >= low) & (values <= high)
            if not own.any():
                continue
            test = paired_test((a - b)[own], rng(0, Stream.RESAMPLING))
            label = f"{name} {low} to {high}" if high < 10**9 else f"{name} {low} and more"
            mine, other = a[own].mean(), b[own].mean()
            gain = f"{100 * (mine / other - 1):+.0f} %" if other else "-"
            interval = f"{test.low:+.4f} to {test.high:+.4f}"
            rows.append([label, int(own.sum()), f"{mine:.4f}", f"{other:.4f}", gain, interval])
    header = ["group", "users", "A", "B", "A / B", "A - B, 95 %"]
    print_table(f"NDCG@{TOP}, {args.task}: A {args.a}, B {args.b}", header, rows)


if __name__ == "__main__":
    main()
