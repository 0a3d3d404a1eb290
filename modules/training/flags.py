"""The flags of pretrain.py: model, protocol, optimisation, validation, memory, curves."""

import argparse

from modules.data.dataset import ITEM_IDS
from modules.presets import MAX_LAYERS, MAX_PROMPTS, PRESETS
from modules.tasks import Task, WholeWords
from utils.errors import limit
from utils.flag_types import (
    bounded,
    names,
    natural,
    non_negative,
    positive,
    positive_int,
    real,
    share,
)

OPTIMIZERS = {"adamw": 1e-3, "adafactor": 2e-2}  # and their learning rates by default


layers = bounded(int, 0, MAX_LAYERS, f"a whole number from 0 to {MAX_LAYERS}")
prompts = bounded(int, 1, MAX_PROMPTS, f"a whole number from 1 to {MAX_PROMPTS}")
_TASKS = tuple(task.label for task in Task)
_IDS = tuple(scheme.value for scheme in WholeWords)


def task_list(text: str) -> list[str]:
    """``sequential,direct`` -> its names, in the order in which batches go round."""
    chosen = names(_TASKS)(text)
    return [name for name in _TASKS if name in chosen]


def whole_word_list(text: str) -> dict[str, str]:
    """``direct=position,sequential=graph`` -> ids by task."""
    found = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    known = set(found) <= set(_TASKS) and set(found.values()) <= set(_IDS)
    if not known or len(found) < text.count(",") + 1:
        raise argparse.ArgumentTypeError(
            f"{limit(text)}: give tasks ({', '.join(_TASKS)}), each once, and their ids "
            f"({' or '.join(_IDS)}), as in direct=position,sequential=graph"
        )
    return found


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """What the model is made of."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--backbone",
        metavar="NAME",
        help="T5 by hub name or folder, or built in: tiny (D 64, 2+2 layers), narrow (D 128, 2+1), "
        "shallow (D 256, 2+1), mini (D 256, 4+4); default t5-small",
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
        "--simulate_leak",
        action="store_true",
        help="with --protocol paper, for data without explanation.json: a graph of a "
        "random 53%% of all pairs, held-out ones included, in place of the published split's",
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
    group.add_argument("--seed", type=natural, default=0, help="seed of the whole run")
    group.add_argument("--max_minutes", type=positive, help="minutes of training at most")
    group.add_argument("--max_steps", type=positive_int, help="steps at most")
    group.add_argument(
        "--graph_every",
        type=positive_int,
        default=1,
        help="propagate the graph once in so many steps, for large graphs: its gradient is "
        "gathered meanwhile and applied at once",
    )


def add_validation_flags(parser: argparse.ArgumentParser) -> None:
    """When a model is looked at, and which is kept."""
    group = parser.add_argument_group("validation")
    group.add_argument(
        "--endure_times",
        type=positive_int,
        default=5,
        help="stop after so many epochs without a lower validation loss",
    )
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


def add_state_flags(parser: argparse.ArgumentParser) -> None:
    """What a run does with the one before it, and with a loss that is none."""
    group = parser.add_argument_group("runs that go on")
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


def add_size_flags(parser: argparse.ArgumentParser) -> None:
    """What fits into memory, on how many processes."""
    group = parser.add_argument_group("size of a step")
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
