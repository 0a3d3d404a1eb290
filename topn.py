"""Direct recommendation: which of 100 candidates does each user take?

    python topn.py ./data/beauty/ --cuda --batch_size 16 --checkpoint ./checkpoint/beauty/

Candidates are the test item and the user's negatives (negative.txt; drawn from the run's seed
where the data folder has none). Writes direct.json and direct.jsonl.
"""

import argparse

from modules import baselines, data, evaluation, loader, reports, runs
from modules.data.dataset import HeldOut
from modules.evaluation import flags
from utils import cli, flag_types
from utils.config_flag import add_config_flag, parse_flags
from utils.console import by_product


def new_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = cli.new_parser(__doc__)
    add_config_flag(parser, flags.OF_RUN)
    cli.add_data_flags(parser)
    group = flags.add_ranking_flags(parser, 20, flags.DECODE_CANDIDATES)
    group.add_argument(
        "--negative_num",
        type=flag_types.positive_int,
        help="negatives beside the test item; default as in training",
    )
    flags.add_catalogue_flag(group)
    flags.add_seen_flags(group)
    flags.add_linear_flag(group)
    flags.add_item_graph_flag(group)
    group.add_argument(
        "--prompt",
        choices=("candidates", "history"),
        help="candidates: the direct task's prompt, which lists them; history: the sequential "
        "task's, with the user's train items; default: of the task that was trained",
    )
    cli.add_machine_flags(parser.add_argument_group("machine and output"))
    return parser


def parse_args() -> argparse.Namespace:
    """The command line, checked."""
    args = parse_flags(new_parser())
    args.data_dir = cli.data_folder(args.data, args.data_dir)
    flags.check_beams(args.decode, args.num_beams, args.top_n, "--top_n")
    flags.check_linear(args.linear, args.decode)
    flags.check_published(args.decode, args.batch_tokens, args.catalogue)
    flags.check_folders(args.data_dir, args.checkpoint, "direct", "results of", args.model_version)
    return args


def main() -> None:
    """Rank each user's candidates, write."""
    args = parse_args()
    precision = flags.evaluation_precision(args.precision, args.checkpoint, args.decode)
    machine = runs.start_machine(args.cuda, args.deterministic, precision)
    run = runs.open_run(args.checkpoint, args.data_dir, machine, ["negative.txt"])
    run = run.without_item_graph() if args.no_item_graph else run
    count = args.negative_num or run.record.arguments["negative_num"]
    prompt = flags.pick_prompt(args.prompt, run.record.tasks, args.catalogue)

    dataset = run.dataset
    users, seen = evaluation.users_to_test(dataset, run.users(args.limit_users), args.seen)
    candidates, source = data.test_candidates(dataset, users, count, run.record.seed, run.folder)
    targets = dataset.targets(users, HeldOut.TEST)
    in_order = args.decode == "published"
    size = loader.BatchSize(args.batch_size, args.batch_tokens, in_order)
    samples = evaluation.direct_samples(run, prompt, users, candidates, size)
    decoding = evaluation.Decoding(args.decode, args.num_beams, args.length_penalty)
    ranker = evaluation.Ranker.of(run, decoding)
    linear = baselines.linear_items(dataset, users, HeldOut.VALIDATION, args.linear)
    dropped = evaluation.dropped_items(dataset, users, HeldOut.TEST, args.seen)
    wanted = args.top_n + evaluation.most_dropped(dropped)  # of the catalogue
    if args.catalogue:
        flags.check_beams(args.decode, args.num_beams, wanted, "--top_n, and what a user had")

    ranked = ranker.rank(samples, candidates, args.top_n, linear)
    ranking = evaluation.Ranking(ranker, samples, targets, candidates, ranked, args.top_n, seen)

    arguments = vars(args) | {"negative_num": count, "prompt": prompt}
    result = evaluation.ranking_record(run, ranking, arguments) | {"negatives": source}
    if ranker.published is not None:
        result |= ranker.published.account()
    if args.catalogue:
        lists = ranker.rank(samples, dataset.catalogue, wanted, linear)
        lists = evaluation.rerank(lists, dropped, args.top_n)
        everything = ranking._replace(ranked=lists, dropped=dropped)
        result |= evaluation.catalogue_record(run, everything, HeldOut.VALIDATION, linear)
    rows = evaluation.ranking_rows(dataset, users, ranked, targets)
    evaluation.add_reasons(run, rows, size)
    runs.write_results(run.folder, "direct", result, rows, args.trec)
    with by_product("report.html"):
        reports.write_report(run.folder)


if __name__ == "__main__":
    cli.run(main)
