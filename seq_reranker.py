"""Sequential recommendation with reranking: what does each user take next?

    python seq_reranker.py ./data/beauty/ --cuda --batch_size 16 --checkpoint ./checkpoint/beauty/

Takes the top_n + N best items of the whole catalogue, drops those that the user already had,
keeps the order, cuts at top_n. Writes sequential.json and sequential.jsonl.
"""

import argparse

from modules import baselines, evaluation, loader, presets, reports, runs
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
    group = flags.add_ranking_flags(parser, 30, flags.DECODE_CATALOGUE)
    group.add_argument(
        "--N",
        type=flag_types.natural,
        help="items taken beyond top_n before reranking (N); default by data set as in the "
        "authors' table",
    )
    flags.add_catalogue_flag(group)
    flags.add_linear_flag(group)
    flags.add_item_graph_flag(group)
    flags.add_seen_flags(group, "--no_rerank")
    cli.add_machine_flags(parser.add_argument_group("machine and output"))
    return parser


def parse_args() -> argparse.Namespace:
    """The command line, checked."""
    args = parse_flags(new_parser())
    args.data_dir = cli.data_folder(args.data, args.data_dir)
    flags.check_beams(args.decode, args.num_beams, args.top_n, "--top_n")
    flags.check_linear(args.linear, args.decode)
    flags.check_published(args.decode, args.batch_tokens, args.catalogue)
    flags.check_folders(
        args.data_dir, args.checkpoint, "sequential", "results of", args.model_version
    )
    return args


def main() -> None:
    """Rank the catalogue for every user, drop what the user had, write."""
    args = parse_args()
    precision = flags.evaluation_precision(args.precision, args.checkpoint, args.decode)
    machine = runs.start_machine(args.cuda, args.deterministic, precision)
    run = runs.open_run(args.checkpoint, args.data_dir, machine)
    run = run.without_item_graph() if args.no_item_graph else run
    n = presets.extra_items(args.N, run.record.arguments["preset"], run.dataset.name)
    flags.check_beams(args.decode, args.num_beams, args.top_n + n, "--top_n + --N")

    dataset, held_out = run.dataset, HeldOut.TEST
    users, seen = evaluation.users_to_test(dataset, run.users(args.limit_users), args.seen)
    histories = loader.recent_histories(dataset, users, held_out)
    targets = dataset.targets(users, held_out)
    in_order = args.decode == "published"
    size = loader.BatchSize(args.batch_size, args.batch_tokens, in_order)
    samples = run.prompts.sequential(users, histories, targets, size)
    decoding = evaluation.Decoding(args.decode, args.num_beams, args.length_penalty)
    ranker = evaluation.Ranker.of(run, decoding)
    flags.check_linear(args.linear, ranker.decoding.method)
    linear = baselines.linear_items(dataset, users, held_out, args.linear)

    ranked = ranker.rank(samples, dataset.catalogue, args.top_n + n, linear)
    dropped = evaluation.dropped_items(dataset, users, held_out, args.seen)
    ranked = evaluation.rerank(ranked, dropped, args.top_n)

    ranking = evaluation.Ranking(
        ranker, samples, targets, dataset.catalogue, ranked, args.top_n, seen, dropped
    )
    result = evaluation.ranking_record(run, ranking, vars(args) | {"N": n})
    if ranker.published is not None:
        result |= ranker.published.account()
    if args.catalogue:
        result |= evaluation.catalogue_record(run, ranking, held_out, linear)
    rows = evaluation.ranking_rows(dataset, users, ranked, targets)
    evaluation.add_reasons(run, rows, size)
    runs.write_results(run.folder, "sequential", result, rows, args.trec)
    with by_product("report.html"):
        reports.write_report(run.folder)


if __name__ == "__main__":
    cli.run(main)
