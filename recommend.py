"""What comes next for a user, and why?

    python recommend.py ./data/beauty/ --checkpoint ./checkpoint/beauty/ --user A1YJEY40YUW4SE
    python recommend.py ./data/demo/ --checkpoint ./checkpoint/demo/ --history tea-01,tea-05
    python recommend.py ./data/demo/ --checkpoint ./checkpoint/demo/ --users_file people.txt --json
    python recommend.py ./data/demo/ --checkpoint ./checkpoint/demo/ --all_users --out lists.csv

Ranks the whole catalogue by the sequential task, less what the user already had. Ids are the
original ones; in --history, one with a comma is quoted as in CSV: --history '"a,b",c'. The answer
goes to the standard output, or to the file of --out; all remarks to the standard error. With --out,
a run that was stopped or killed goes on when it is started again.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import modules
from modules import list_files, people, runs
from modules.data.dataset import RecDataset
from modules.data.reader import check_data_folder
from modules.evaluation.flags import OF_RUN, add_batch_size, evaluation_precision
from modules.runs.record import read_record
from modules.tasks import Task
from utils import cli, distributed, flag_types
from utils.config_flag import add_config_flag, parse_flags
from utils.console import printable
from utils.errors import UserError, limit


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    add_config_flag(parser, OF_RUN)
    cli.add_data_flags(parser)
    _add_whom_flags(parser.add_argument_group("for whom"))
    group = parser.add_argument_group("answer")
    group.add_argument("--top_n", type=flag_types.positive_int, default=10, help="items in a list")
    group.add_argument(
        "--keep_seen", action="store_true", help="lists may hold items that somebody already had"
    )
    group.add_argument(
        "--explain",
        type=flag_types.natural,
        metavar="N",
        help="say why for the first N items; default: all, for many users or with --out none",
    )
    form = group.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="an object a user, a line each")
    form.add_argument(
        "--out",
        type=flag_types.path,
        metavar="FILE",
        help="write to this file, ending in .csv, .jsonl, .parquet or .sqlite: a row an item; in "
        ".jsonl a line a user, as --json",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace the file of --out, if it is one of ours"
    )
    group = parser.add_argument_group("machine and output")
    add_batch_size(group)
    cli.add_machine_flags(group)
    args = parse_flags(parser, cli.take_any_value(parser, ("--user", "--history")))
    args.data_dir = cli.data_folder(args.data, args.data_dir)
    args.newcomer = args.history is not None or args.history_file is not None
    if args.newcomer and args.held_out:
        raise UserError(f"--held_out {args.held_out}: for users of the data. Shorten --history.")
    args.names = [people.Name("--user", args.user)]
    for flag in ("users_file", "history_file"):
        if path := getattr(args, flag):
            args.names = people.read_names(f"--{flag}", path)
    check_data_folder(args.data_dir)
    read_record(Path(args.checkpoint))
    if args.out:
        if distributed.Launch.from_environment().world_size > 1:
            raise UserError("--out: one process writes it. Start recommend.py without torchrun.")
        list_files.check_list_file(args.out, args.overwrite)
    return args


def _add_whom_flags(group: argparse._ArgumentGroup) -> None:
    whom = group.add_mutually_exclusive_group(required=True)
    whom.add_argument("--user", metavar="ID", help="a user of the data")
    whom.add_argument(
        "--users_file", metavar="FILE", type=flag_types.path, help="many, one id on each line"
    )
    whom.add_argument("--all_users", action="store_true", help="all users of the data")
    whom.add_argument(
        "--history",
        metavar="ID,ID,...",
        help="items of somebody unknown, oldest first, quoted as in CSV",
    )
    whom.add_argument(
        "--history_file", metavar="FILE", type=flag_types.path, help="the same, one id on each line"
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="stop at a line of --users_file that is no user; by default it is named and skipped",
    )
    group.add_argument(
        "--held_out",
        type=int,
        choices=(0, 1, 2),
        default=0,
        help="leave out so many of a user's last items: 1 asks what seq_reranker.py asks",
    )


def asked(args: argparse.Namespace, dataset: RecDataset) -> Sequence[people.Person]:
    """Whom the command line asks for; those of --users_file who are unknown are named."""
    if args.newcomer:
        names = args.names
        if args.history is not None:
            names = people.split_history(dataset, args.history)
        return [people.newcomer(dataset, names)]
    if args.all_users:
        return people.Users(dataset, dataset.users, args.held_out)
    found, unknown = people.known(dataset, args.names, args.held_out, args.strict)
    for name in unknown:
        blank = not name.text.strip()
        what = "a blank line" if blank else f"user {limit(name.text)} is not in the data"
        remark(f"{name.where}: {what}; skipped")
    return found


def explained(args: argparse.Namespace, tasks: list[str]) -> int:
    """How many items of a list are explained; UserError where the model never learned to."""
    learned = Task.EXPLANATION.label in tasks
    if args.explain and not learned:
        raise UserError(
            f"--explain {args.explain}: the model of {args.checkpoint} was trained on "
            f"{', '.join(tasks)} alone. Leave --explain out, or train on explanation too."
        )
    if not learned:
        remark("no explanations: the model was not trained on that task")
        return 0
    if args.explain is not None:
        return args.explain
    return 0 if args.users_file or args.all_users or args.out else args.top_n


def write(
    args: argparse.Namespace, whom: Sequence[people.Person], lists: "modules.recommend.Lists"
) -> None:
    """Write the lists to the file of --out; each user's once."""
    if isinstance(whom, people.Users):
        once = whom.each_once()
        if again := len(whom) - len(once):
            remark(f"{again:,} lines of {args.users_file} name a user again: one list a user")
        whom = once
    done = modules.lists_out.write_lists(args.out, whom, lists, args.held_out, args.overwrite)
    new, earlier = done.now - done.before, ""
    if done.before:
        earlier = f", {done.before:,} of them by an earlier run"
    if done.stopped:
        remark(
            f"stopped: {done.now:,} of {len(whom):,} users are in {args.out}.part{earlier}. The "
            "same command goes on with the next."
        )
        raise SystemExit(128 + done.stopped)
    remark(
        f"{args.out}: {len(whom):,} users{earlier}; {new:,} in {done.seconds:.1f} s, "
        f"{new / done.seconds:,.0f} users/s"
    )


def remark(message: str) -> None:
    """Say something that is not part of the answer; of several processes, one speaks."""
    if distributed.is_main():
        print(printable(message), file=sys.stderr, flush=True)


def main() -> None:
    """Answer for one user, many, or a newcomer."""
    args, started, advice = parse_args(), time.perf_counter(), modules.recommend
    with redirect_stdout(sys.stderr):  # what is said meanwhile is not part of the answer
        precision = evaluation_precision(args.precision, args.checkpoint)
        machine = runs.start_machine(args.cuda, args.deterministic, precision)
        run = runs.open_run(args.checkpoint, args.data_dir, machine, writes=False)
        dataset, tasks = run.dataset, run.record.tasks
        if Task.SEQUENTIAL.label not in tasks:
            raise UserError(
                f"--checkpoint {args.checkpoint}: trained on {', '.join(tasks)}; what comes next "
                "is the sequential task. Train with it."
            )
        whom = asked(args, dataset)
        count = explained(args, tasks)
        if args.newcomer:
            remark(advice.newcomer_remark(run, count))
        loaded = time.perf_counter()
        lists = advice.Lists(
            run, args.top_n, count, args.batch_size, args.keep_seen, shown=not args.out
        )
        if args.out:
            write(args, whom, lists)
        answers = [] if args.out else lists.of(whom)
    as_text = advice.as_json if args.json else advice.as_table
    for answer in answers if distributed.is_main() else ():
        print(as_text(dataset, answer))
    seconds = time.perf_counter() - loaded
    remark(f"{loaded - started:.1f} s to read the model and the data, {seconds:.1f} s to answer")
    if skipped := len(args.names) - len(whom) if args.users_file else 0:
        remark(
            f"{skipped:,} of {len(args.names):,} lines of {args.users_file} name nobody: skipped"
        )


if __name__ == "__main__":
    cli.run(main)
