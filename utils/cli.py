"""Flags that several scripts share; and how a script starts, and ends on bad input."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import torch

from utils import distributed
from utils.errors import UserError, limit
from utils.flag_types import (
    exponent,
    non_negative,
    positive_int,
)
from utils.runtime import make_deterministic, out_of_memory, pick_device, pick_precision


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's line breaks, and shows defaults."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.default in (None, False, []):
            return action.help or ""
        return super()._get_help_string(action) or ""


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that a script's flags are added to, group by group."""
    return argparse.ArgumentParser(description=description, formatter_class=_Formatter)


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """The data folder, positional or by flag."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "data", nargs="?", metavar="DATA_DIR", help="data folder (see data/README.md)"
    )
    group.add_argument("--data_dir", help="the same, as a flag")


def add_machine_flags(parser: argparse.ArgumentParser, batch_size: int) -> None:
    """Device, precision, batch size and the run's folder."""
    group = parser.add_argument_group("machine and output")
    group.add_argument("--cuda", action="store_true", help="run on the CUDA device")
    group.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits each time on one machine, at some cost in speed on a GPU",
    )
    group.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        help="bf16: autocast of float32 weights; default: bf16 where the processor has it",
    )
    group.add_argument(
        "--batch_size", type=positive_int, default=batch_size, help="samples a batch"
    )
    group.add_argument(
        "--checkpoint",
        default="./checkpoint/elmrec/",
        help="the run's folder: model, logs, results",
    )


DECODE_CATALOGUE = {
    "auto": "the faster of exact and best_first",
    "exact": "every item's probability, in one pass over the item trie",
    "best_first": "the same lists, for large catalogues",
    "beam": "search over the trie",
}
DECODE_CANDIDATES = {
    "exact": "every candidate's probability",
    "beam": "search over the candidates' trie",
}


def add_ranking_flags(
    parser: argparse.ArgumentParser, num_beams: int, decode: dict[str, str]
) -> argparse._ArgumentGroup:
    """How items are ranked; the group, for a script's own flags. decode: choices, best first."""
    group = parser.add_argument_group("ranking")
    group.add_argument(
        "--decode",
        choices=decode,
        default=next(iter(decode)),
        help="; ".join(f"{name}: {text}" for name, text in decode.items()),
    )
    group.add_argument(
        "--num_beams",
        type=positive_int,
        default=num_beams,
        help="beams, for --decode beam",
    )
    group.add_argument(
        "--length_penalty",
        type=exponent,
        default=1.0,
        help="a beam's score is divided by length to this power",
    )
    group.add_argument("--top_n", type=positive_int, default=10, help="items in a list")
    add_trec_flag(group)
    add_evaluation_flags(group)
    return group


def add_catalogue_flag(group: argparse._ActionsContainer) -> None:
    """Beyond the top list."""
    group.add_argument(
        "--catalogue",
        action="store_true",
        help="also where the test item stands among all items: HR, NDCG, MRR up to @100, coverage, "
        "popularity, by history and item popularity",
    )


def add_linear_flag(group: argparse._ActionsContainer) -> None:
    """A second opinion."""
    group.add_argument(
        "--linear",
        type=non_negative,
        default=0.0,
        metavar="WEIGHT",
        help="add so much of a linear model of the train histories (modules/baselines/linear.py) to "
        "each log-probability; choose it on validation with python -m benchmarks.linear",
    )


def check_linear(args: argparse.Namespace, method: str) -> None:
    """Scores are added where every item has one."""
    if args.linear and method != "exact":
        raise UserError(
            f"--linear {args.linear:g} goes with exact ranking alone, and this is {method}. Give "
            "--decode exact (with items that are tokens of their own, or a small catalogue)."
        )


def add_trec_flag(group: argparse._ActionsContainer) -> None:
    """The lists once more, in the format of retrieval tools."""
    group.add_argument(
        "--trec",
        action="store_true",
        help="also write <task>.run.trec and <task>.qrels.trec, for trec_eval, ir_measures, ranx",
    )


def add_evaluation_flags(group: argparse._ArgumentGroup) -> None:
    """Size of a batch, and a quick look at a part of the test set."""
    group.add_argument(
        "--batch_tokens",
        type=positive_int,
        help="end a batch at so many prompt tokens, pads counted, if --batch_size comes later",
    )
    group.add_argument(
        "--limit_users",
        type=positive_int,
        help="test on so many users (explanations: records), evenly spread",
    )


def start_machine(args: argparse.Namespace) -> torch.device:
    """Join the other processes, if any; the device, and ``args.precision`` filled in."""
    distributed.start(args.cuda)
    if args.deterministic:
        make_deterministic()
    device = pick_device(args.cuda)
    args.precision = pick_precision(args.precision, device)
    return device


def check_beams(args: argparse.Namespace, wanted: int) -> None:
    """Beam search can return no more items than it has beams."""
    if args.decode == "beam" and args.num_beams < wanted:
        raise UserError(
            f"--num_beams {args.num_beams} cannot give {wanted} items (--top_n"
            + (" + --N" if wanted > args.top_n else "")
            + f"). Give at least {wanted} beams, or use --decode exact."
        )


def data_folder(args: argparse.Namespace) -> str:
    """The data folder of the command line; UserError where it is named twice or not at all."""
    if args.data and args.data_dir and args.data != args.data_dir:
        raise UserError(
            f"two data folders: {args.data!r} and --data_dir {args.data_dir!r}. Name one."
        )
    folder = args.data or args.data_dir
    if not folder:
        raise UserError("no data folder: name one, as in `pretrain.py ./data/beauty/`.")
    return folder


def run(main: Callable[[], None]) -> None:
    """Run a script's ``main``; what the user got wrong is one message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):  # not every terminal can show every name of a file
        stream.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _fail(
            f"out of memory ({limit(str(error), 120)}). A smaller --batch_size, --num_beams or "
            "--backbone needs less."
        )
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is not flushed
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        distributed.stop()


def _fail(message: str) -> NoReturn:
    who = f" (process {distributed.rank()})" if distributed.world_size() > 1 else ""
    print(f"error{who}: {message}", file=sys.stderr)
    sys.exit(2)
