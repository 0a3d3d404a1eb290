"""Sequential recommendation with reranking: what does each user take next?

    python seq_reranker.py ./data/beauty/ --cuda --batch_size 16 --checkpoint ./checkpoint/beauty/

Takes the top_n + N best items of the whole catalogue, drops those that the user already had,
keeps the order, cuts at top_n. Writes sequential.json and sequential.jsonl.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from modules import presets
from modules.baselines.linear import linear_items
from modules.data.candidates import fingerprint
from modules.evaluation import flags
from modules.evaluation.ranker import Decoding, Ranker, pick_method
from modules.evaluation.record import catalogue_record, ranking_rows, result_record
from modules.evaluation.reranking import rank_of, rerank
from modules.loader.evaluation_set import sequential_eval
from modules.reports.page import write_report
from modules.runs.results import write_results
from modules.runs.run import open_experiment, spread
from modules.tasks import Task
from utils import cli, flag_types
from utils.console import say
from utils.files import check_writable
from utils.metrics.ranking import ranking_metrics
from utils.runtime import start_machine


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    cli.add_data_flags(parser)
    group = flags.add_ranking_flags(parser, 30, flags.DECODE_CATALOGUE)
    group.add_argument(
        "--N",
        type=flag_types.natural,
        dest="N",
        help="items taken beyond top_n before reranking (N); default by data set "
        "as in the authors' table",
    )
    flags.add_catalogue_flag(group)
    flags.add_linear_flag(group)
    group.add_argument(
        "--no_rerank",
        action="store_true",
        help="for ablations: keep items that the user already had",
    )
    cli.add_machine_flags(parser, batch_size=16)
    args = parser.parse_args()
    args.data_dir = cli.data_folder(args)
    return args


def main() -> None:
    """Rank the catalogue for every user, rerank, write."""
    args = parse_args()
    started = time.perf_counter()
    folder = Path(args.checkpoint)
    device, args.precision = start_machine(args.cuda, args.deterministic, args.precision)
    experiment, run = open_experiment(folder, args.data_dir, device, args.precision)
    check_writable(folder)
    dataset = experiment.dataset
    if args.N is None:
        preset = run["arguments"]["preset"]
        args.N = presets.published_row(preset, dataset.name, "sequential")[0].reach
    flags.check_beams(args, args.top_n + args.N)
    users = spread(dataset.n_users, args.limit_users) + 1
    scheme = experiment.scheme(Task.SEQUENTIAL)
    size = (args.batch_size, args.batch_tokens)
    causal = experiment.causal(Task.SEQUENTIAL)
    samples = sequential_eval(dataset, users, 1, experiment.pieces, scheme, *size, causal)
    trie = experiment.trie()
    method = pick_method(args.decode, trie)
    flags.check_linear(args, method)
    ranker = Ranker(
        experiment.model,
        trie,
        experiment.pieces.item_targets,
        Decoding(method, args.num_beams, args.length_penalty),
        experiment.autocast,
    )
    catalogue = np.arange(1, dataset.n_items + 1)[None]
    loaded = time.perf_counter()
    say(f"ranking {dataset.n_items:,} items for {len(users):,} users ({method})")
    linear = linear_items(dataset, users, 1, args.linear)
    items, scores, seconds = ranker.rank(samples, catalogue, args.top_n + args.N, linear)
    had = [dataset.history(user)[:-1] for user in users]
    if not args.no_rerank:
        items, scores = rerank(items, scores, had, args.top_n)
    items, scores = items[:, : args.top_n], scores[:, : args.top_n]
    targets = dataset.test_items[users - 1]
    ranks = rank_of(items, targets)
    result = result_record(experiment, run, args, method, len(users), loaded - started, seconds)
    result["metrics"] = ranking_metrics(ranks)
    result["candidates"] = fingerprint(catalogue)
    if args.catalogue:
        lengths = dataset.lengths[users - 1] - 1
        result["catalogue"] = catalogue_record(experiment, ranker, samples, items, lengths, linear)
    rows = ranking_rows(dataset, users, items, scores, targets, ranks)
    write_results(folder, "sequential", result, rows, args.trec)
    write_report(folder)


if __name__ == "__main__":
    cli.run(main)
