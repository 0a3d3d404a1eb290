"""The flags that the test scripts share, and what of them does not go together."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.data.reader import check_data_folder
from modules.evaluation.seen import DROP, KEEP, LEAVE_OUT
from modules.presets import MODEL_VERSIONS
from modules.runs.record import RUN_FILE, read_record
from modules.runs.writing import check_result_name
from modules.tasks import RANKING_TASKS
from utils import distributed
from utils.config_flag import OfRun
from utils.console import say
from utils.errors import UserError, limit
from utils.files import check_writable
from utils.flag_types import exponent, non_negative, positive_int
from utils.locks import LOCK_FILE, check_free

# Names of other files in a run's folder, without ending: results must not take their place.
TAKEN = ("run", "config", "model", "item_numbers", "tokenizer", "tokenizer_config", "train_log")
TAKEN += ("baseline", *RANKING_TASKS)


def file_name(text: str) -> str:
    """A plain name for files in the run's folder, and none of those that are there already; the
    published ``generated.txt`` is ``generated``."""
    text = text.removesuffix(".txt")
    if not re.fullmatch(r"\w[\w.-]{0,99}", text) or text in TAKEN:
        raise argparse.ArgumentTypeError(
            f"{limit(text)} must be a name of letters, digits, '_', '-' and '.', but not "
            f"{', '.join(TAKEN)}"
        )
    return text


def of_run(path: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that name a run and its machine, of its run.json. How it was trained, the run says
    by itself; sizes of batches and the like are of training alone."""
    if path.name != RUN_FILE:
        raise UserError(f"{path}: is no {RUN_FILE} in the folder of a run. Name one.")
    found = _some(arguments, "data_dir", "cuda", "deterministic")
    return {**found, "checkpoint": str(path.parent)}


def _some(arguments: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: arguments[name] for name in names if name in arguments}


OF_RUN = OfRun("its data folder, itself as --checkpoint, --cuda and --deterministic", of_run)
DATA_OF_RUN = OfRun(
    "its data folder, seed and number of negatives",
    lambda path, arguments: _some(arguments, "data_dir", "seed", "negative_num"),
)

_PUBLISHED = {
    "published": "the authors' search: free beams, batches in the order of the file, fp32, which "
    "gives the published figures; what is no item is a miss, and counted"
}
DECODE_CATALOGUE = {
    "auto": "the faster of exact and best_first",
    "exact": "every item's probability, in one pass over the item trie",
    "best_first": "the same lists, for large catalogues",
    "beam": "search over the trie",
} | _PUBLISHED
DECODE_CANDIDATES = {
    "exact": "every candidate's probability",
    "beam": "search over the candidates' trie",
} | _PUBLISHED
DECODE_TEXTS = {
    "beam": "beam search",
    "published": "the same, batches in the order of the file, fp32",
}


def add_ranking_flags(
    parser: argparse.ArgumentParser, num_beams: int, decode: dict[str, str]
) -> argparse._ArgumentGroup:
    """How items are ranked. decode: the choices of ``--decode``, the default first.

    Returns:
        the group, for a script's own flags.
    """
    group = parser.add_argument_group("ranking")
    add_decode_flag(group, decode)
    group.add_argument(
        "--num_beams",
        type=positive_int,
        default=num_beams,
        help="beams, for --decode beam and published",
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


def add_decode_flag(group: argparse._ActionsContainer, decode: dict[str, str]) -> None:
    """Which search. decode: the choices with their help, the default first."""
    group.add_argument(
        "--decode",
        choices=decode,
        default=next(iter(decode)),
        help="; ".join(f"{name}: {text}" for name, text in decode.items()),
    )


def add_catalogue_flag(group: argparse._ActionsContainer) -> None:
    """Figures of the whole catalogue."""
    group.add_argument(
        "--catalogue",
        action="store_true",
        help="also the rank of the test item among all items: HR, NDCG, MRR up to @100, coverage, "
        "popularity, by history and item popularity",
    )


def add_seen_flags(parser: argparse._ActionsContainer, *others: str) -> None:
    """What is done about items that a user already had. others: more names of ``--keep_seen``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--keep_seen",
        *others,
        dest="seen",
        action="store_const",
        const=KEEP,
        default=DROP,
        help="lists may hold items that their user already had; by default they do not, and a "
        "test item that its user had before is a miss",
    )
    group.add_argument(
        "--leave_out_seen",
        dest="seen",
        action="store_const",
        const=LEAVE_OUT,
        help="do not test users whose test item is one that they had before",
    )


def add_linear_flag(group: argparse._ActionsContainer) -> None:
    """The linear model added to the T5."""
    group.add_argument(
        "--linear",
        type=non_negative,
        default=0.0,
        metavar="WEIGHT",
        help="add this times a linear model of the train histories (modules/baselines/linear.py) "
        "to each log-probability; choose it on validation with python -m benchmarks.linear",
    )


def add_item_graph_flag(group: argparse._ActionsContainer) -> None:
    """What the item graph brings."""
    group.add_argument(
        "--no_item_graph",
        action="store_true",
        help="rank by the T5 alone, without the item graph of a model that was trained with one",
    )


def check_linear(weight: float, method: str) -> None:
    """UserError where ``--linear`` is given and not every item has a score to add to. method: of
    ``--decode``; what auto comes to is known, and asked about, once the model is there."""
    if weight and method not in ("exact", "auto"):
        raise UserError(
            f"--linear {weight:g} works with exact ranking alone, and this is {method}. Give "
            "--decode exact (with items that are tokens of their own, or a small catalogue)."
        )


def add_batch_size(group: argparse._ArgumentGroup) -> None:
    """Samples a batch."""
    group.add_argument("--batch_size", type=positive_int, default=16, help="samples a batch")


def add_trec_flag(group: argparse._ActionsContainer) -> None:
    """The lists once more, in the format of retrieval tools."""
    group.add_argument(
        "--trec",
        action="store_true",
        help="also write <task>.run.trec and <task>.qrels.trec, for trec_eval, ir_measures, ranx",
    )


def add_evaluation_flags(group: argparse._ArgumentGroup) -> None:
    """Size of a batch, and a quick look at a part of the test set; what published commands have."""
    add_batch_size(group)
    group.add_argument(
        "--model_version",
        type=int,
        choices=range(len(MODEL_VERSIONS)),
        help="kept for the published commands: the model in the folder says which T5 it is on",
    )
    group.add_argument(
        "--batch_tokens",
        type=positive_int,
        help="end a batch at this many prompt tokens, pads counted, or at --batch_size",
    )
    group.add_argument(
        "--limit_users",
        type=positive_int,
        help="test on this many users (explanations: records), evenly spread",
    )


def evaluation_precision(given: str | None, checkpoint: str, decode: str = "") -> str | None:
    """``--precision``; else fp32 where the search is published or the model was trained in it."""
    if given or decode == "published":
        return given or "fp32"
    return read_record(Path(checkpoint)).precision


def check_published(decode: str, batch_tokens: int | None, catalogue: bool = False) -> None:
    """UserError where flags contradict ``--decode published``."""
    if decode != "published":
        return
    if batch_tokens is not None:
        raise UserError(
            f"--batch_tokens {batch_tokens}: the published batches hold --batch_size prompts each, "
            "and what a decoder that sees pads says depends on them. Leave it out."
        )
    if catalogue:
        raise UserError(
            "--catalogue: the published search ranks a few items a user, not all. Leave it out, or "
            "give another --decode."
        )


def check_beams(decode: str, num_beams: int, wanted: int, what: str) -> None:
    """UserError where a beam search has fewer beams than items are wanted. what: the flags that
    ask for them."""
    if decode in ("beam", "published") and num_beams < wanted:
        raise UserError(
            f"--num_beams {num_beams} cannot give {wanted} items ({what}). Give at least {wanted} "
            "beams, or use --decode exact."
        )


def check_folders(
    data_dir: str, checkpoint: str, result: str, flag: str, model_version: int | None
) -> None:
    """UserError where ``--data_dir`` or ``--checkpoint`` cannot be what it must be, a run trains
    there, or a file of somebody else has the name of the result: said here, it does not take the
    seconds that torch takes to load.

    flag: that names the result, for errors.
    model_version: where it names another T5 than the model's, this is said.
    """
    check_data_folder(data_dir)
    backbone = read_record(Path(checkpoint)).arguments.get("backbone")
    if backbone and model_version is not None:
        named = MODEL_VERSIONS[model_version]
        if Path(backbone).name != named:
            say(
                f"--model_version {model_version} is {named}, and the model of --checkpoint "
                f"{checkpoint} is on {backbone}: that one is tested"
            )
    check_writable(checkpoint)
    check_result_name(Path(checkpoint), result, flag)
    if distributed.is_main():
        check_free(Path(checkpoint) / LOCK_FILE, f"--checkpoint {checkpoint}")


def pick_prompt(given: str | None, trained: Sequence[str], catalogue: bool) -> str:
    """``--prompt``, by default of the task that was trained.

    Raises:
        UserError: where all items are to be ranked by a prompt that lists candidates.
    """
    prompt = given or ("candidates" if "direct" in trained else "history")
    if catalogue and prompt == "candidates":
        raise UserError(
            "--catalogue: a prompt that lists 100 candidates cannot rank all items. Add "
            "--prompt history, which needs a model of the sequential task."
        )
    return prompt
