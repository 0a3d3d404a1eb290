"""The flags that the test scripts share, and what of them does not go together."""

import argparse
import re

from utils.errors import UserError, limit
from utils.flag_types import exponent, non_negative, positive_int

# Names of other files in a run's folder, without ending: results must not take their place.
TAKEN = ("run", "config", "model", "item_numbers", "tokenizer", "tokenizer_config", "train_log")


def file_name(text: str) -> str:
    """A plain name for files in the run's folder, and none of those that are there already."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", text) or text in TAKEN:
        raise argparse.ArgumentTypeError(
            f"{limit(text)} is no name for results: letters, digits, '_', '-' and '.', and none of "
            f"{', '.join(TAKEN)}"
        )
    return text


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


def check_beams(args: argparse.Namespace, wanted: int) -> None:
    """Beam search can return no more items than it has beams."""
    if args.decode == "beam" and args.num_beams < wanted:
        raise UserError(
            f"--num_beams {args.num_beams} cannot give {wanted} items (--top_n"
            + (" + --N" if wanted > args.top_n else "")
            + f"). Give at least {wanted} beams, or use --decode exact."
        )
