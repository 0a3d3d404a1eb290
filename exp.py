"""Explanation generation: why would this user like this item?

    python exp.py ./data/beauty/ --cuda --batch_size 16 --checkpoint ./checkpoint/beauty/

Writes explanation.json, explanation.jsonl and, as the published script does, explanation.txt:
reference, text, blank line (--outf generated.txt gives them the published name).
"""

import argparse

from modules import evaluation, loader, reports, runs
from modules.evaluation import flags
from modules.tasks import MAX_TOKENS
from utils import cli, flag_types
from utils.config_flag import add_config_flag, parse_flags
from utils.console import by_product, say
from utils.errors import UserError


def new_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = cli.new_parser(__doc__)
    add_config_flag(parser, flags.OF_RUN)
    cli.add_data_flags(parser)
    group = parser.add_argument_group("generation")
    flags.add_decode_flag(group, flags.DECODE_TEXTS)
    group.add_argument(
        "--num_beams", type=flag_types.positive_int, default=21, help="beams of all groups"
    )
    group.add_argument(
        "--num_beam_groups",
        type=flag_types.positive_int,
        default=3,
        help="groups of diverse beam search",
    )
    group.add_argument(
        "--diversity_penalty",
        type=flag_types.non_negative,
        default=0.0,
        help="cost of a token that an earlier group has chosen; at 0 the groups "
        "are one search, which is run once",
    )
    group.add_argument(
        "--min_len",
        type=flag_types.natural,
        default=10,
        help="tokens at least, the start token counted",
    )
    group.add_argument(
        "--exp_len",
        type=flag_types.positive_int,
        help="tokens of a reference; default as in training",
    )
    group.add_argument(
        "--outf",
        type=flags.file_name,
        default="explanation",
        help="name of the written files; .txt is the one that the published script writes",
    )
    flags.add_evaluation_flags(group)
    cli.add_machine_flags(parser.add_argument_group("machine and output"))
    return parser


def parse_args() -> argparse.Namespace:
    """The command line, checked."""
    args = parse_flags(new_parser())
    args.data_dir = cli.data_folder(args.data, args.data_dir)
    if args.num_beams % args.num_beam_groups:
        raise UserError(
            f"--num_beams {args.num_beams} must be a multiple of --num_beam_groups "
            f"{args.num_beam_groups}: all groups have the same number of beams."
        )
    if not args.min_len < MAX_TOKENS:
        raise UserError(f"--min_len {args.min_len}: must be below {MAX_TOKENS}, where a text ends.")
    flags.check_published(args.decode, args.batch_tokens)
    flags.check_folders(args.data_dir, args.checkpoint, args.outf, "--outf", args.model_version)
    return args


def main() -> None:
    """Generate a text for every test record, write."""
    args = parse_args()
    precision = flags.evaluation_precision(args.precision, args.checkpoint, args.decode)
    machine = runs.start_machine(args.cuda, args.deterministic, precision)
    run = runs.open_run(args.checkpoint, args.data_dir, machine, ["explanation.json"])
    runs.tasks_of(run.dataset, ["explanation"])
    exp_len = args.exp_len or run.record.arguments["exp_len"]

    targets, all_references = run.texts("test", exp_len)
    records = run.dataset.explanations["test"]
    chosen = runs.spread(len(records.users), args.limit_users)
    references = [all_references[row] for row in chosen]
    in_order = args.decode == "published"
    size = loader.BatchSize(args.batch_size, args.batch_tokens, in_order)
    samples = run.prompts.explanation(
        records.users[chosen], records.items[chosen], targets.gather(chosen), size
    )
    beams = evaluation.text_beams(
        args.num_beams, args.num_beam_groups, args.diversity_penalty, args.min_len
    )

    say(f"writing {len(chosen):,} explanations")
    texts, seconds = evaluation.write_texts(run, samples, beams)

    arguments = vars(args) | {"exp_len": exp_len}
    result = evaluation.result_record(run, arguments, args.decode, len(chosen), seconds)
    result["blank_texts"] = sum(not text.strip() for text in texts)
    if result["blank_texts"]:
        say(f"warning: {result['blank_texts']:,} of {len(texts):,} texts are blank")
    result["metrics"] = evaluation.text_figures(run.dataset, chosen, texts, references)
    rows = evaluation.text_rows(run.dataset, chosen, texts, references)
    text = evaluation.published_text(rows)
    runs.write_results(run.folder, args.outf, result, rows, text=text)
    with by_product("report.html"):
        reports.write_report(run.folder)


if __name__ == "__main__":
    cli.run(main)
