"""What weight should the linear model have? HR@10 and NDCG@10 on validation items.

    python -m benchmarks.linear --data_dir ./data/beauty --run checkpoint/beauty-best

Sequential: the whole catalogue less what the user had. Direct: 100 candidates, the prompt holding
the train items. ``inf``: the linear model alone. The test items are not looked at.
"""

import argparse

from benchmarks.measure import default_data, print_table
from modules.baselines.linear import LinearItems
from modules.data.candidates import valid_candidates
from modules.data.dataset import HeldOut
from modules.data.histories import weighted_histories
from modules.data.item_graph import PAST, linear_weights
from modules.evaluation.decode import Decoding
from modules.evaluation.ranker import Ranker
from modules.evaluation.reranking import rank_of, rerank
from modules.evaluation.seen import DROP, dropped_items, most_dropped, validated_users
from modules.loader.batches import BatchSize
from modules.loader.ragged import recent_histories
from modules.runs.run import open_run
from modules.tasks import MAX_HISTORY
from utils.flag_types import non_negative, numbers
from utils.metrics.ranking import hit_rate, ndcg
from utils.runtime import Machine, pick_device, pick_precision

ALONE = 1e6  # a weight so large that log-probabilities do not count
TOP = 10


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(default_data()))
    parser.add_argument("--run", required=True, help="a run's folder")
    parser.add_argument("--users", type=int, default=5000, help="validation users")
    weights = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 120.0)
    parser.add_argument("--weights", type=numbers(non_negative), default=weights)
    args = parser.parse_args()
    device = pick_device(False)
    machine = Machine(device, pick_precision(None, device))
    run = open_run(args.run, args.data_dir, machine, writes=False)
    dataset, held_out = run.dataset, HeldOut.VALIDATION
    users, seen = validated_users(dataset, run.users(args.users), DROP)
    targets, had = dataset.targets(users, held_out), dropped_items(dataset, users, held_out, seen)
    histories = recent_histories(dataset, users, held_out)
    samples = run.prompts.sequential(users, histories, targets, BatchSize(64))
    candidates = valid_candidates(dataset, users, 99, run.record.seed)
    ranker = Ranker.of(run, Decoding("exact"))
    matrix = linear_weights(dataset)
    weighted = weighted_histories(dataset, held_out, PAST, MAX_HISTORY, users)
    rows = []
    for weight in (*args.weights, ALONE):
        linear = LinearItems(matrix, weighted, weight) if weight else None
        ranked = ranker.rank(samples, dataset.catalogue, TOP + most_dropped(had), linear)
        sequential = rank_of(rerank(ranked, had, TOP).items, targets)
        direct = rank_of(ranker.rank(samples, candidates, TOP, linear).items, targets)
        figures = [f(ranks, k) for ranks in (sequential, direct) for f, k in _FIGURES]
        rows.append(["inf" if weight == ALONE else f"{weight:g}", *figures])
    names = [
        f"{task} {name}" for task in ("seq", "direct") for name in ("HR@1", "HR@10", "NDCG@10")
    ]
    title = f"Weight of the linear model, {dataset.name}, {len(users):,} validation users"
    print_table(title, ["weight", *names], rows)


_FIGURES = ((hit_rate, 1), (hit_rate, TOP), (ndcg, TOP))


if __name__ == "__main__":
    main()
