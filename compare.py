"""Baselines, and runs side by side.

    python compare.py baselines ./data/beauty/
    python compare.py table ./checkpoint/beauty/ ./checkpoint/beauty-ease/
    python compare.py test ./checkpoint/beauty/ ./checkpoint/beauty-ease/
    python compare.py add lists.trec --name other --data_dir ./data/beauty/
    python compare.py sweep sweep.yaml

baselines writes a folder a baseline, checkpoint/<data>-<baseline>/, with the files of an evaluated
model. table and test read folders of models and baselines alike. For test, several runs of one
method (seeds) are joined by commas: python compare.py test a-0,a-1,a-2 b-0,b-1,b-2
"""

import argparse
from pathlib import Path

from modules import baselines, data, reports, sweeps
from modules.baselines.lists import IDS, Lists
from modules.baselines.simple import BASELINES, DECAYS, DEFAULT_METHODS, EASE_L2
from modules.evaluation import flags
from modules.reports.table_files import check_table_file
from modules.tasks import RANKING_TASKS, TASKS
from utils import cli, flag_types
from utils.config_flag import add_config_flag, parse_flags
from utils.console import say
from utils.errors import UserError
from utils.own_files import write_out


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _baselines_flags(commands.add_parser("baselines", help="tune, test and write the baselines"))
    _table_flags(
        commands.add_parser("table", help="results of runs, and published ones, as a table")
    )
    _add_flags(commands.add_parser("add", help="lists of another program, as a baseline's folder"))
    _sweep_flags(commands.add_parser("sweep", help="all trainings and tests that a file asks for"))
    _test_flags(
        commands.add_parser("test", help="is the difference of two methods more than chance?")
    )
    for name, command in commands.choices.items():
        add_config_flag(command, flags.DATA_OF_RUN if name == "baselines" else None)
    args = parse_flags(parser)
    if args.command == "baselines":
        args.data_dir = cli.data_folder(args.data, args.data_dir)
    return args


def _table_flags(table: argparse.ArgumentParser) -> None:
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
    table.add_argument(
        "--each",
        action="store_true",
        help="a row a run; by default runs that differ in the seed alone are one: mean ± sd (n)",
    )
    table.add_argument(
        "--out",
        action="append",
        default=[],
        type=flag_types.path,
        metavar="FILE",
        help="write to this new file as well: .md, .csv, .tex (for booktabs) or .html (with the "
        "curves of the trainings); once for each file",
    )
    table.add_argument("--overwrite", action="store_true", help="replace the files of --out")


def _test_flags(test: argparse.ArgumentParser) -> None:
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
    parser.add_argument(
        "--ending", type=flag_types.file_ending, default="", help="of folders' names, such as =-0"
    )
    flags.add_trec_flag(parser)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", type=flag_types.path, metavar="FILE", help="run file of TREC: user Q0 item rank ..."
    )
    parser.add_argument("--name", type=flags.file_name, required=True, help="of the program")
    parser.add_argument(
        "--data_dir", type=flag_types.path_name, required=True, help="data folder that was ranked"
    )
    parser.add_argument(
        "--task",
        choices=RANKING_TASKS,
        default="sequential",
        help="sequential: the whole catalogue was ranked; direct: the test item and the negatives",
    )
    parser.add_argument(
        "--ids",
        choices=IDS,
        help="users and items by the data folder's numbers, or by original ids; default: as fits",
    )
    parser.add_argument("--top_n", type=flag_types.positive_int, default=10, help="items in a list")
    parser.add_argument(
        "--negative_num",
        type=flag_types.positive_int,
        default=99,
        help="negatives beside the test item",
    )
    flags.add_seen_flags(parser)
    parser.add_argument(
        "--seed", type=flag_types.natural, default=0, help="of the program; and of negatives"
    )
    parser.add_argument(
        "--checkpoint", type=flag_types.path_name, default="./checkpoint/", help="for the folder"
    )


def add_run(args: argparse.Namespace) -> None:
    """Evaluate the lists of another program; write them as a baseline's folder."""
    dataset = data.load_dataset(args.data_dir)
    lists = Lists(
        args.run,
        args.name,
        args.task,
        args.ids,
        args.seed,
        args.top_n,
        args.negative_num,
        args.seen,
    )
    folder = Path(args.checkpoint) / f"{dataset.name}-{args.name}"
    arguments = vars(args) | {"run": str(args.run)}
    baselines.add_lists(dataset, lists, folder, arguments)


def _sweep_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=flag_types.path,
        metavar="FILE",
        help=".yaml or .json: data, seeds, runs, common, baselines, tasks, test "
        "(docs/evaluation.md)",
    )
    parser.add_argument(
        "--parallel",
        type=flag_types.positive_int,
        help="runs at once; default: one for each CUDA device, else 1",
    )
    parser.add_argument(
        "--checkpoint",
        type=flag_types.path_name,
        default="./checkpoint/",
        help="where the sweep's folder goes, sweep-<name of FILE>",
    )


def run_sweep(args: argparse.Namespace) -> None:
    """Train and test all that the file asks for; the table of what there is."""
    import exp
    import seq_reranker
    import topn

    parsers = {f"{script.__name__}.py": script.new_parser() for script in (exp, seq_reranker, topn)}
    parsers["baselines"] = cli.new_parser(None)
    _baselines_flags(parsers["baselines"])
    root = Path(args.checkpoint) / f"sweep-{args.file.stem}"
    jobs = sweeps.read_plan(args.file, root, parsers)
    devices = sweeps.cuda_devices()
    failed = sweeps.run_jobs(jobs, root, devices, args.parallel or len(devices) or 1)
    folders = [job.folder for job in jobs]
    folders = [run for run in folders if any((run / f"{task}.json").exists() for task in TASKS)]
    if folders:
        rows = reports.by_settings(reports.entries(folders))
        print(reports.entries_as_markdown(rows))
        for ending in (".md", ".csv", ".tex"):
            write_out(root / f"table{ending}", reports.as_text(ending, rows, folders))
        say(f"written: {root / 'table'}.md, .csv, .tex")
    for failure in failed:
        say(f"failed: {failure.folder.name}: {failure.reason}; see {failure.log}")
    if failed:
        say(f"{len(failed)} of {len(jobs)} failed; the same command runs what is not done")
        raise SystemExit(1)


def run_baselines(args: argparse.Namespace) -> None:
    """Tune, test and write each baseline."""
    dataset = data.load_dataset(args.data_dir)
    folders = {
        name: Path(args.checkpoint) / f"{dataset.name}-{name}{args.ending}" for name in args.methods
    }
    for name, folder in folders.items():  # all of them, before the first is tuned
        baselines.check_baseline_folder(folder, name)
    args.negative_num = args.negative_num or data.default_count(dataset)
    arena = baselines.make_arena(
        dataset, args.seed, args.negative_num, args.top_n, args.decay, args.seen
    )
    grid = tuple({"l2": value} for value in args.ease_l2)
    tried = BASELINES | {"ease": BASELINES["ease"]._replace(settings=grid)}
    chosen = {name: tried[name] for name in folders}
    for name, baseline in baselines.that_fit(chosen, arena.train).items():
        baselines.run_baseline(arena, name, baseline, folders[name], vars(args), args.trec)


def print_table(args: argparse.Namespace) -> None:
    """Print the table; write it where asked."""
    for path in args.out:  # all of them, before the first is written
        check_table_file(path, args.overwrite)
    folders = [Path(run) for run in args.runs]
    rows = reports.entries(folders)
    rows = rows if args.each else reports.by_settings(rows)
    print(reports.entries_as_markdown(rows, args.catalogue))
    for path in args.out:
        write_out(path, reports.as_text(path.suffix, rows, folders, args.catalogue))
        say(f"written: {path}")


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
    print(reports.describe_sides(runs, args.level, len(found)), end="\n\n")
    print(reports.differences_as_markdown(found, args.level))


def main() -> None:
    """Run the chosen command."""
    args = parse_args()
    commands = {
        "baselines": run_baselines,
        "add": add_run,
        "sweep": run_sweep,
        "table": print_table,
        "test": print_test,
    }
    commands[args.command](args)


if __name__ == "__main__":
    cli.run(main)
