"""Direct recommendation: which of 100 candidates does each user take?

    python topn.py ./data/beauty/ --cuda --batch_size 16 --checkpoint ./checkpoint/beauty/

Candidates are the test item and the user's negatives (negative.txt; drawn from the run's seed
where the data folder has none). Writes direct.json and direct.jsonl.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from modules.baselines.linear import linear_items
from modules.data.candidates import fingerprint, test_candidates
from modules.evaluation import flags
from modules.evaluation.ranker import Decoding, Ranker
from modules.evaluation.record import catalogue_record, ranking_rows, result_record
from modules.evaluation.reranking import rank_of, rerank
from modules.loader.evaluation_set import direct_eval, sequential_eval
from modules.loader.training_stream import MAX_HISTORY
from modules.reports.page import write_report
from modules.runs.results import write_results
from modules.runs.run import open_experiment, spread
from modules.tasks import Task
from utils import cli, flag_types
from utils.console import say
from utils.errors import UserError
from utils.files import check_writable
from utils.metrics.ranking import ranking_metrics
from utils.runtime import start_machine


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    cli.add_data_flags(parser)
    group = flags.add_ranking_flags(parser, 20, flags.DECODE_CANDIDATES)
    group.add_argument(
        "--negative_num",
        type=flag_types.positive_int,
        help="negatives beside the test item; default as in training",
    )
    flags.add_catalogue_flag(group)
    flags.add_linear_flag(group)
    group.add_argument(
        "--prompt",
        choices=("candidates", "history"),
        help="candidates: the direct task's prompt, which lists them; history: the sequential "
        "task's, with the user's train items; default: of the task that was trained",
    )
    cli.add_machine_flags(parser, batch_size=16)
    args = parser.parse_args()
    args.data_dir = cli.data_folder(args)
    return args


def main() -> None:
    """Rank each user's candidates, write."""
    args = parse_args()
    started = time.perf_counter()
    flags.check_beams(args, args.top_n)
    flags.check_linear(args, args.decode)
    folder = Path(args.checkpoint)
    device, args.precision = start_machine(args.cuda, args.deterministic, args.precision)
    experiment, run = open_experiment(
        folder, args.data_dir, device, args.precision, ["negative.txt"]
    )
    check_writable(folder)
    dataset = experiment.dataset
    args.negative_num = args.negative_num or run["arguments"]["negative_num"]
    trained = run["arguments"].get("tasks", ["direct"])
    args.prompt = args.prompt or ("candidates" if "direct" in trained else "history")
    if args.catalogue and args.prompt == "candidates":
        raise UserError(
            "--catalogue: a prompt that lists 100 candidates cannot be asked for all items. Add "
            "--prompt history, which needs a model of the sequential task."
        )
    users = spread(dataset.n_users, args.limit_users) + 1
    candidates, source = test_candidates(dataset, users, args.negative_num, experiment.seed, folder)
    say(f"negatives: {source}")
    targets = dataset.test_items[users - 1]
    size = (args.batch_size, args.batch_tokens)
    if args.prompt == "history":
        causal = experiment.causal(Task.SEQUENTIAL)
        scheme = experiment.scheme(Task.SEQUENTIAL)
        how = (experiment.pieces, scheme, *size, causal)
        samples = sequential_eval(dataset, users, 2, *how, targets)
    else:
        scheme = experiment.scheme(Task.DIRECT)
        samples = direct_eval(users, targets, candidates, experiment.pieces, scheme, *size)
    ranker = Ranker(
        experiment.model,
        experiment.trie(),
        experiment.pieces.item_targets,
        Decoding(args.decode, args.num_beams, args.length_penalty),
        experiment.autocast,
    )
    loaded = time.perf_counter()
    say(f"ranking {candidates.shape[1]} candidates for {len(users):,} users ({args.decode})")
    linear = linear_items(dataset, users, 2, args.linear)
    items, scores, seconds = ranker.rank(samples, candidates, args.top_n, linear)
    ranks = rank_of(items, targets)
    result = result_record(
        experiment, run, args, args.decode, len(users), loaded - started, seconds
    )
    result["metrics"] = ranking_metrics(ranks)
    result["negatives"] = source
    result["candidates"] = fingerprint(candidates)
    if args.catalogue:
        everything = np.arange(1, dataset.n_items + 1)[None]
        lists, scores_of = ranker.rank(samples, everything, args.top_n + MAX_HISTORY, linear)[:2]
        lists, _ = rerank(lists, scores_of, [dataset.history(u)[:-1] for u in users], args.top_n)
        lengths = dataset.lengths[users - 1] - 2
        result["catalogue"] = catalogue_record(experiment, ranker, samples, lists, lengths, linear)
    rows = ranking_rows(dataset, users, items, scores, targets, ranks)
    write_results(folder, "direct", result, rows, args.trec)
    write_report(folder)


if __name__ == "__main__":
    cli.run(main)
