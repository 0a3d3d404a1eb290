"""Every flag, once, in groups; and how a script starts, and ends on bad input."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import torch

from modules.dataset import ITEM_IDS
from utils import distributed
from utils.errors import UserError, limit
from utils.flag_types import (
    exponent,
    layers,
    natural,
    non_negative,
    positive,
    positive_int,
    prompts,
    real,
    share,
    task_list,
    whole_word_list,
)
from utils.presets import PRESETS
from utils.runtime import make_deterministic, out_of_memory, pick_device, pick_precision

OPTIMIZERS = {"adamw": 1e-3, "adafactor": 2e-2}  # and their learning rates by default


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


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """What the model is made of."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--backbone",
        metavar="NAME",
        help="T5 by hub name or folder, or built in: tiny (D 64, 2+2 layers), mini "
        "(D 256, 4+4); default t5-small",
    )
    group.add_argument(
        "--model_version",
        type=int,
        choices=range(5),
        help="0: t5-small, 1: t5-base, 2: t5-large, 3: t5-3b, 4: t5-11b",
    )
    group.add_argument(
        "--from_scratch", action="store_true", help="random weights in place of pre-trained ones"
    )
    group.add_argument(
        "--method",
        choices=("elmrec", "pod", "p5"),
        default="elmrec",
        help="pod: positions in place of the graph; p5: and no soft prompts",
    )
    group.add_argument(
        "--dropout",
        type=share,
        help="dropout rate of T5; default as the backbone has it (0.1)",
    )
    group.add_argument(
        "--whole_words",
        type=whole_word_list,
        default={},
        metavar="TASK=IDS,...",
        help="for ablations: whole-word ids of tasks that are not to have their method's, as in "
        "direct=position,sequential=graph",
    )
    group.add_argument(
        "--item_vectors",
        choices=("random", "cooccurrence"),
        default="random",
        help="what --item_ids own starts from: cooccurrence: vectors of what is bought together",
    )
    group.add_argument(
        "--causal",
        action="store_true",
        help="read sequential prompts from left to right, with every item of a history a target",
    )
    group.add_argument("--prompt_num", type=prompts, default=3, help="soft prompts a task (K)")
    group.add_argument("--alpha", type=real, help="weight of whole-word embeddings (α)")
    group.add_argument(
        "--sigma",
        type=non_negative,
        help="standard deviation of the random node features (σ)",
    )
    group.add_argument("--L", type=layers, dest="L", help="LightGCN layers of the propagation (L)")
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="readme",
        help="where α, σ and L come from when not given: the authors' README, or "
        "their later correction; best: other settings too, for items as tokens (EXPERIMENTS.md)",
    )
    group.add_argument(
        "--objective",
        choices=("direct", "sequential"),
        default="direct",
        help="which column of the preset",
    )


def add_protocol_flags(parser: argparse.ArgumentParser) -> None:
    """What training may see, and how items are numbered."""
    group = parser.add_argument_group("protocol")
    group.add_argument(
        "--protocol",
        choices=("clean", "paper"),
        default="clean",
        help="clean: nothing held out is seen; paper: the published leaks",
    )
    group.add_argument(
        "--item_ids",
        choices=ITEM_IDS,
        help="how items are written: random numbers (default of clean), the data's own (published, "
        "default of paper), numbers that like items share digits of (collaborative), or a new "
        "token an item (own)",
    )
    group.add_argument(
        "--tasks",
        type=task_list,
        default="explanation,sequential,direct",
        help="tasks to train, by commas",
    )
    group.add_argument("--task_num", type=int, choices=(3,), help=argparse.SUPPRESS)
    group.add_argument(
        "--negative_num",
        type=positive_int,
        default=99,
        help="negatives beside the positive in the direct task",
    )
    group.add_argument("--exp_len", type=positive_int, default=20, help="tokens of an explanation")


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Optimisation and its limits."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        help="adamw as published, or adafactor, which alone gets far from random weights; default: "
        "adamw for a pre-trained backbone, adafactor from scratch",
    )
    group.add_argument(
        "--lr",
        type=positive,
        help="learning rate; default: "
        + ", ".join(f"{rate:g} ({name})" for name, rate in OPTIMIZERS.items()),
    )
    group.add_argument(
        "--warmup", type=natural, default=0, help="steps in which the learning rate rises from 0"
    )
    group.add_argument(
        "--schedule",
        choices=("constant", "linear"),
        default="constant",
        help="of the learning rate; linear: down to 0 in the second half of --epochs (--max_steps)",
    )
    group.add_argument(
        "--loss",
        choices=("tokens", "continuations"),
        default="tokens",
        help="cross entropy over all tokens, as published, or over what can follow in the trie of "
        "items, which is what exact ranking asks for",
    )
    group.add_argument("--epochs", type=positive_int, default=100, help="epochs at most")
    group.add_argument(
        "--endure_times",
        type=positive_int,
        default=5,
        help="stop after so many epochs without a lower validation loss",
    )
    group.add_argument(
        "--graph_every",
        type=positive_int,
        default=1,
        help="propagate the graph once in so many steps, for large graphs: its gradient is "
        "gathered meanwhile and applied at once",
    )
    group.add_argument("--max_steps", type=positive_int, help="steps at most")
    group.add_argument("--max_minutes", type=positive, help="minutes of training at most")
    group.add_argument(
        "--valid_samples",
        type=positive_int,
        help="validate on so many samples a task, evenly spread; default all",
    )
    group.add_argument(
        "--eval_users",
        type=positive_int,
        help="rank for so many validation users after each epoch, and keep the model with the best "
        "NDCG@10 in place of the lowest loss",
    )
    group.add_argument(
        "--log_interval",
        type=positive_int,
        default=200,
        help="steps between lines of train_log.jsonl",
    )
    group.add_argument(
        "--resume",
        nargs="?",
        const="last",
        metavar="STEP",
        help="go on with the run in --checkpoint, from its last saved state or the one of STEP",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="start anew in a folder that holds a run"
    )
    group.add_argument(
        "--save_minutes",
        type=positive,
        default=10.0,
        help="save the training state this often, and after each epoch",
    )
    group.add_argument(
        "--skip_nonfinite",
        action="store_true",
        help="leave out steps whose loss is NaN or infinite, and count them; else they end the run",
    )
    group.add_argument("--seed", type=natural, default=0, help="seed of the whole run")
    group.add_argument(
        "--accumulate",
        type=positive_int,
        default=1,
        help="batches a process adds up before each optimizer step",
    )
    group.add_argument(
        "--batch_tokens",
        type=positive_int,
        help="cut batches at so many prompt tokens, pads counted: less memory, the same steps",
    )
    group.add_argument(
        "--pad_to",
        type=positive_int,
        default=1,
        help="pad prompts to a multiple of so many tokens, for --compile",
    )
    group.add_argument(
        "--compile", action="store_true", help="compile the model with torch.compile"
    )
    group.add_argument(
        "--shard",
        action="store_true",
        help="split weights, gradients and optimizer state over the processes of torchrun (FSDP)",
    )


def add_curve_flags(parser: argparse.ArgumentParser) -> None:
    """Curves to look at while a run goes on."""
    parser.add_argument_group("curves").add_argument(
        "--tensorboard",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="also write losses, learning rate and samples/s for TensorBoard, a folder a run; "
        "without FOLDER into tensorboard/ of the run's folder",
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
