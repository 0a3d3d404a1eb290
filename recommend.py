"""What comes next for a user, and why?

    python recommend.py ./data/beauty/ --checkpoint ./checkpoint/beauty/ --user A1YJEY40YUW4SE
    python recommend.py ./data/demo/ --checkpoint ./checkpoint/demo/ --history tea-01,tea-05

Ranks the whole catalogue by the sequential task, less what the user already had. Ids are the
original ones. The answer goes to the standard output, all remarks to the standard error.
"""

import argparse
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import modules
from modules import runs
from modules.data.reader import check_data_folder
from modules.evaluation.flags import add_batch_size
from modules.runs.record import read_record
from modules.tasks import Task
from utils import cli, distributed, flag_types
from utils.errors import UserError


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    cli.add_data_flags(parser)
    group = parser.add_argument_group("for whom")
    whom = group.add_mutually_exclusive_group(required=True)
    whom.add_argument("--user", metavar="ID", help="a user of the data")
    whom.add_argument("--users_file", metavar="FILE", type=Path, help="many, one id on each line")
    whom.add_argument("--history", metavar="ID,ID,...", help="of somebody unknown, oldest first")
    group.add_argument(
        "--held_out",
        type=int,
        choices=(0, 1, 2),
        default=0,
        help="leave out so many of a user's last items: 1 asks what seq_reranker.py asks",
    )
    group = parser.add_argument_group("answer")
    group.add_argument("--top_n", type=flag_types.positive_int, default=10, help="items in a list")
    group.add_argument(
        "--explain",
        type=flag_types.natural,
        metavar="N",
        help="say why for the first N items; default: all, with --users_file none",
    )
    group.add_argument("--json", action="store_true", help="an object a user, a line each")
    group = parser.add_argument_group("machine and output")
    add_batch_size(group)
    cli.add_machine_flags(group)
    args = parser.parse_args()
    args.data_dir = cli.data_folder(args.data, args.data_dir)
    if args.history is not None and args.held_out:
        raise UserError(f"--held_out {args.held_out}: for users of the data. Shorten --history.")
    args.names = read_names(args.users_file) if args.users_file else [("--user", args.user)]
    check_data_folder(args.data_dir)
    read_record(Path(args.checkpoint))
    return args


def read_names(path: Path) -> list[tuple[str, str]]:
    """A file with an original user id a line -> pairs of its place, for messages, and it."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--users_file {path}: cannot be read ({reason}).") from error
    if not lines:
        raise UserError(f"--users_file {path}: the file is empty. Each line is a user id.")
    return [(f"{path}, line {n}", line.strip()) for n, line in enumerate(lines, start=1)]


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
    return 0 if args.users_file else args.top_n


def remark(message: str) -> None:
    """Say something that is not part of the answer; of several processes, one speaks."""
    if distributed.is_main():
        print(message, file=sys.stderr, flush=True)


def main() -> None:
    """Answer for one user, many, or a newcomer."""
    args, started, advice = parse_args(), time.perf_counter(), modules.recommend
    with redirect_stdout(sys.stderr):  # what is said meanwhile is not part of the answer
        machine = runs.start_machine(args.cuda, args.deterministic, args.precision)
        run = runs.open_run(args.checkpoint, args.data_dir, machine, writes=False)
        dataset, tasks = run.dataset, run.record.tasks
        if Task.SEQUENTIAL.label not in tasks:
            raise UserError(
                f"--checkpoint {args.checkpoint}: trained on {', '.join(tasks)}; what comes next "
                "is the sequential task. Train with it."
            )
        if args.history is not None:
            people = [advice.newcomer(dataset, args.history)]
        else:
            people = advice.known(dataset, args.names, args.held_out)
        count = explained(args, tasks)
        if args.history is not None:
            remark(advice.newcomer_remark(run, count))
        loaded = time.perf_counter()
        answers = advice.recommend(run, people, args.top_n, count, args.batch_size)
    as_text = advice.as_json if args.json else advice.as_table
    for answer in answers if distributed.is_main() else ():
        print(as_text(dataset, answer))
    seconds = time.perf_counter() - loaded
    remark(f"{loaded - started:.1f} s to read the model and the data, {seconds:.1f} s to answer")


if __name__ == "__main__":
    cli.run(main)
