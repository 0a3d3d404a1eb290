"""What weight should the linear model have? HR@10 and NDCG@10 on validation items.

    python -m benchmarks.linear --data_dir ../shared/data/beauty --run checkpoint/beauty-best

Sequential: the whole catalogue less what the user had. Direct: 100 candidates, the prompt holding
the train items. ``inf``: the linear model alone. The test items are not looked at.
"""

import argparse

import numpy as np

from benchmarks.measure import default_data, print_table
from modules.baselines.linear import LinearItems, fit_linear_items, recent_items
from modules.data.candidates import valid_candidates
from modules.evaluation.ranker import Decoding, Ranker
from modules.evaluation.reranking import rank_of, rerank
from modules.loader.evaluation_set import sequential_eval
from modules.runs.run import open_experiment, spread
from modules.tasks import MAX_HISTORY, Task
from utils.flag_types import non_negative, numbers
from utils.metrics.ranking import hit_rate, ndcg
from utils.runtime import pick_device, pick_precision

ALONE = 1e6  # a weight beside which log-probabilities do not count
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
    experiment, _ = open_experiment(args.run, args.data_dir, device, pick_precision(None, device))
    dataset = experiment.dataset
    users = spread(dataset.n_users, args.users) + 1
    targets, had = dataset.valid_items[users - 1], [dataset.history(user)[:-2] for user in users]
    how = (experiment.pieces, experiment.scheme(Task.SEQUENTIAL), 64, None)
    samples = sequential_eval(dataset, users, 2, *how, experiment.causal(Task.SEQUENTIAL))
    candidates = valid_candidates(dataset, users, 99, experiment.seed)
    catalogue = np.arange(1, dataset.n_items + 1)[None]
    decoding = Decoding("exact")
    ranker = Ranker(
        experiment.model,
        experiment.trie(),
        experiment.pieces.item_targets,
        decoding,
        experiment.autocast,
    )
    matrix, histories = fit_linear_items(dataset), recent_items(dataset, 2)[users - 1]
    rows = []
    for weight in (*args.weights, ALONE):
        linear = LinearItems(matrix, histories, weight) if weight else None
        items, scores, _ = ranker.rank(samples, catalogue, TOP + MAX_HISTORY, linear)
        sequential = rank_of(rerank(items, scores, had, TOP)[0], targets)
        direct = rank_of(ranker.rank(samples, candidates, TOP, linear)[0], targets)
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
