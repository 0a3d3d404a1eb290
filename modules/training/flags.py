"""The command line of pretrain.py: its flags are the fields of ``Settings``, defined there."""

import argparse
import os
from dataclasses import fields
from typing import Any

from modules.model.hub import ask_hub
from modules.presets import ALIASES, MODEL_VERSIONS, OWN_PRESETS, PRESETS
from modules.training.published import GROUP, as_published
from modules.training.settings import Settings
from utils import cli
from utils.console import say
from utils.errors import limit

_DEFAULTS = Settings()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of ``Settings`` that is one, in the groups of the fields."""
    groups: dict[str, Any] = {}
    cli.add_data_flags(parser)
    flags = [field for field in fields(Settings) if field.metadata]
    for field in sorted(flags, key=lambda field: field.metadata["group"] == GROUP):  # GROUP last
        name, text = field.metadata["group"], field.metadata["help"]
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        how = dict(field.metadata["how"])
        if how.get("action") != "store_true":
            how["default"] = getattr(_DEFAULTS, field.name)
        groups[name].add_argument(f"--{field.name}", help=text, **how)
    # The published scripts take it; there are always three tasks.
    parser.add_argument("--task_num", type=int, choices=(3,), help=argparse.SUPPRESS)
    cli.add_machine_flags(groups["machine and output"])


# Who chooses one of these has a model in mind, and gets the authors' settings for the rest.
_SHAPING = (
    "method", "whole_words", "propagation", "item_vectors", "item_graph", "causal", "alpha",
    "sigma", "L", "objective", "protocol", "simulate_leak", "item_ids", "own_edges", "loss",
    "shard", "compile", "model_version", "from_scratch", "graph_every",
    "as_published", "decoder_sees_pads", "train_row_0", "score_pads", "fresh_negatives",
)  # fmt: skip


def default_preset(args: argparse.Namespace) -> str:
    """``--preset`` where it is not given: the authors' for their data, and where a flag shapes the
    model; else the best that we know."""
    folder = os.path.abspath(args.data or args.data_dir or "")
    published = os.path.basename(folder).lower() in PRESETS["readme"]
    given = [name for name in _SHAPING if getattr(args, name) != getattr(_DEFAULTS, name)]
    return "readme" if published or given else "elmrec_clean"


def default_backbone() -> str | None:
    """``--backbone`` where nothing is given: None, the published t5-small; or where that is not to
    be had, a built-in one, and says so."""
    name = MODEL_VERSIONS[0]
    try:
        ask_hub(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        say(
            f"{name} is not to be had here ({limit(reason, 120)}): taking --backbone mini, a small "
            "T5 from random weights. Published figures are of the pre-trained one."
        )
        return "mini"
    return None


def parse_settings(description: str | None) -> Settings:
    """The settings of the command line, what depends on other flags filled in.

    Raises:
        UserError: naming flags that do not go together.
    """
    parser = cli.new_parser(description)
    add_flags(parser)
    chosen = parser.parse_known_args()[0]
    preset = chosen.preset or default_preset(chosen)
    parser.set_defaults(preset=preset, **OWN_PRESETS.get(ALIASES.get(preset, preset), {}))
    if chosen.as_published:
        parser.set_defaults(**as_published(chosen.method))
    args = vars(parser.parse_args())
    args["data_dir"] = cli.data_folder(args.pop("data"), args["data_dir"])
    del args["task_num"]
    settings = Settings(**args).resolved()
    named = args["as_published"] or args["backbone"] or args["model_version"] is not None
    if not named and (backbone := default_backbone()):
        settings = Settings(**args | {"backbone": backbone}).resolved()
    if preset in ALIASES:
        say(f"--preset {preset} is called {ALIASES[preset]} now, for it has no graph")
    return settings
