"""Baselines, and runs side by side.

    python compare.py baselines ./data/beauty/
    python compare.py table ./checkpoint/beauty/ ./checkpoint/beauty-ease/
    python compare.py test ./checkpoint/beauty/ ./checkpoint/beauty-ease/

baselines writes a folder a baseline, checkpoint/<data>-<baseline>/, with the files of an evaluated
model. table and test read folders of models and baselines alike. For test, several runs of one
method (seeds) are joined by commas: python compare.py test a-0,a-1,a-2 b-0,b-1,b-2
"""

import argparse
from pathlib import Path

from modules import baselines, data, reports
from modules.baselines.simple import BASELINES, DECAYS, DEFAULT_METHODS, EASE_L2
from modules.evaluation import flags
from modules.tasks import RANKING_TASKS
from utils import cli, flag_types
from utils.console import say
from utils.errors import UserError
from utils.own_files import check_out, write_out


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _baselines_flags(commands.add_parser("baselines", help="tune, test and write the baselines"))
    table = commands.add_parser("table", help="results of runs, and published ones, as a table")
    table.add_argument(
        "runs",
        nargs="+",
        type=flag_types.path_name,
        metavar="RUN",
        help="folder of an evaluated run",
    )
    table.add_argument(
        "--catalogue", action="store_true", help="with the figures of the whole catalogue"
    )
    table.add_argument("--out", type=flag_types.path, help="write to this new .md or .csv as well")
    table.add_argument("--overwrite", action="store_true", help="replace the file of --out")
    test = commands.add_parser("test", help="is the difference of two methods more than chance?")
    for name in ("a", "b"):
        test.add_argument(
            name,
            type=flag_types.path_name,
            metavar=f"RUN{name.upper()}",
            help="folder, or folders by commas",
        )
    tasks = RANKING_TASKS
    test.add_argument("--tasks", type=flag_types.names(tasks), default=tasks, help="by commas")
    test.add_argument(
        "--resamples", type=flag_types.positive_int, default=9999, help="of test, bootstrap"
    )
    test.add_argument(
        "--level", type=flag_types.positive, default=0.05, help="p that counts as small"
    )
    test.add_argument(
        "--seed", type=flag_types.natural, default=0, help="of permutations and bootstrap"
    )
    args = parser.parse_args()
    if args.command == "baselines":
        args.data_dir = cli.data_folder(args.data, args.data_dir)
    return args


def _baselines_flags(parser: argparse.ArgumentParser) -> None:
    cli.add_data_flags(parser)
    known = f"known: {','.join(BASELINES)}; default: {','.join(DEFAULT_METHODS)}"
    parser.add_argument(
        "--methods", type=flag_types.names(BASELINES), default=DEFAULT_METHODS, help=known
    )
    tried = "tried on validation: penalties of EASE (λ), by commas"
    parser.add_argument(
        "--ease_l2", type=flag_types.numbers(flag_types.positive), default=EASE_L2, help=tried
    )
    tried = "tried on validation: weight of an item by that of the next one, by commas"
    parser.add_argument(
        "--decay", type=flag_types.numbers(flag_types.positive), default=DECAYS, help=tried
    )
    parser.add_argument(
        "--negative_num",
        type=flag_types.positive_int,
        help="negatives beside the test item; default: as many as negative.txt holds, else 99, or "
        "what can be drawn",
    )
    parser.add_argument("--top_n", type=flag_types.positive_int, default=10, help="items in a list")
    flags.add_seen_flags(parser)
    parser.add_argument("--seed", type=flag_types.natural, default=0, help="of negatives and ties")
    parser.add_argument(
        "--checkpoint",
        type=flag_types.path_name,
        default="./checkpoint/",
        help="where the folders go",
    )
    flags.add_trec_flag(parser)


def run_baselines(args: argparse.Namespace) -> None:
    """Tune, test and write each baseline."""
    dataset = data.load_dataset(args.data_dir)
    folders = {name: Path(args.checkpoint) / f"{dataset.name}-{name}" for name in args.methods}
    for name, folder in folders.items():  # all of them, before the first is tuned
        baselines.check_baseline_folder(folder, name)
    args.negative_num = args.negative_num or data.default_count(dataset)
    arena = baselines.make_arena(
        dataset, args.seed, args.negative_num, args.top_n, args.decay, args.seen
    )
    grid = tuple({"l2": value} for value in args.ease_l2)
    tried = BASELINES | {"ease": BASELINES["ease"]._replace(settings=grid)}
    for name, folder in folders.items():
        baselines.run_baseline(arena, name, tried[name], folder, vars(args), args.trec)


def print_table(args: argparse.Namespace) -> None:
    """Print the table; write it where asked."""
    if args.out and args.out.suffix not in (".md", ".csv"):
        raise UserError(f"--out {args.out}: must end in .md or .csv.")
    if args.out:
        check_out(args.out, args.overwrite)
    entries = reports.entries([Path(run) for run in args.runs])
    text = reports.entries_as_markdown(entries, args.catalogue)
    print(text)
    if args.out:
        write_out(args.out, reports.entries_as_csv(entries) if args.out.suffix == ".csv" else text)
        say(f"written: {args.out}")


def _folders(text: str) -> list[Path]:
    """Folders by commas, or the one folder whose name holds a comma."""
    if Path(text).is_dir():
        return [Path(text)]
    return [Path(run) for run in text.split(",") if run]


def print_test(args: argparse.Namespace) -> None:
    """Print the paired differences."""
    sides = [_folders(text) for text in (args.a, args.b)]
    if not all(sides):
        raise UserError("compare.py test: each of the two methods needs a folder.")
    found, runs = reports.differences(*sides, args.tasks, args.seed, args.resamples)
    print(reports.describe_sides(runs, args.level, len(found)))
    print()
    print(reports.differences_as_markdown(found, args.level))


def main() -> None:
    """Run the chosen command."""
    args = parse_args()
    commands = {"baselines": run_baselines, "table": print_table, "test": print_test}
    commands[args.command](args)


if __name__ == "__main__":
    cli.run(main)
