"""Explanation generation: why would this user like this item?

    python exp.py ./data/beauty/ --cuda --batch_size 16 --checkpoint ./checkpoint/beauty/

Writes explanation.json and explanation.jsonl (--outf names another file for the texts).
"""

import argparse
import time
from functools import partial
from pathlib import Path

from modules.decoding.exact import BeamOptions
from modules.evaluation import flags
from modules.evaluation.ranker import generate_texts
from modules.evaluation.record import result_record
from modules.loader.evaluation_set import explanation_eval
from modules.reports.page import write_report
from modules.runs.results import write_results
from modules.runs.run import open_experiment, spread, tasks_of
from modules.tasks import Task
from utils import cli, flag_types
from utils.console import say
from utils.errors import UserError
from utils.files import check_writable
from utils.metrics.explanation import explanation_metrics
from utils.metrics.text import text_metrics
from utils.runtime import start_machine

MAX_TOKENS = 50  # of a generated text, as published


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    cli.add_data_flags(parser)
    group = parser.add_argument_group("generation")
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
    group.add_argument("--min_len", type=flag_types.natural, default=10, help="tokens at least")
    group.add_argument(
        "--exp_len",
        type=flag_types.positive_int,
        help="tokens of a reference; default as in training",
    )
    group.add_argument(
        "--outf",
        type=flags.file_name,
        default="explanation",
        help="name of the written files, without ending",
    )
    flags.add_evaluation_flags(group)
    cli.add_machine_flags(parser, batch_size=16)
    args = parser.parse_args()
    args.data_dir = cli.data_folder(args)
    if args.num_beams % args.num_beam_groups:
        raise UserError(
            f"--num_beams {args.num_beams} is no multiple of --num_beam_groups "
            f"{args.num_beam_groups}; all groups have as many beams."
        )
    if not args.min_len < MAX_TOKENS:
        raise UserError(f"--min_len {args.min_len}: a text ends at {MAX_TOKENS} tokens.")
    return args


def main() -> None:
    """Generate a text for every test record, write."""
    args = parse_args()
    started = time.perf_counter()
    folder = Path(args.checkpoint)
    device, args.precision = start_machine(args.cuda, args.deterministic, args.precision)
    experiment, run = open_experiment(
        folder, args.data_dir, device, args.precision, ["explanation.json"]
    )
    check_writable(folder)
    dataset = experiment.dataset
    tasks_of(dataset, ["explanation"])
    args.exp_len = args.exp_len or run["arguments"]["exp_len"]
    targets, references = experiment.targets("test", args.exp_len)
    records = dataset.explanations["test"]
    chosen = spread(len(records.users), args.limit_users)
    samples = explanation_eval(
        records.users[chosen],
        records.items[chosen],
        targets.gather(chosen),
        experiment.pieces,
        experiment.scheme(Task.EXPLANATION),
        args.batch_size,
        args.batch_tokens,
    )
    options = BeamOptions(
        *(args.num_beams, MAX_TOKENS, args.min_len),
        groups=args.num_beam_groups,
        diversity_penalty=args.diversity_penalty,
        early_stopping=True,
    )
    decode = partial(experiment.tokenizer.batch_decode, skip_special_tokens=True)
    loaded = time.perf_counter()
    say(f"writing {len(chosen):,} explanations")
    texts, seconds = generate_texts(experiment.model, samples, options, decode, experiment.autocast)
    references = [references[r] for r in chosen]
    features = [records.features[r] for r in chosen]
    result = result_record(experiment, run, args, "beam", len(chosen), loaded - started, seconds)
    named = {f for split in dataset.explanations.values() for f in split.features}
    result["metrics"] = text_metrics(texts, references)
    result["metrics"] |= explanation_metrics(texts, features, named)
    rows = [
        {
            "user": int(records.users[r]),
            "item": int(records.items[r]),
            "reference": reference,
            "text": text,
        }
        for r, reference, text in zip(chosen, references, texts)
    ]
    write_results(folder, args.outf, result, rows)
    write_report(folder)


if __name__ == "__main__":
    cli.run(main)
