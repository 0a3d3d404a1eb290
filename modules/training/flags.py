"""The command line of pretrain.py: its flags are the fields of ``Settings``, defined there."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from modules.presets import ALIASES, OWN_PRESETS
from modules.runs.record import PLACES
from modules.training.defaults import default_backbone, default_preset
from modules.training.published import GROUP, OF_THE_GRAPH, as_published
from modules.training.settings import Settings
from utils import cli
from utils.config_flag import OfRun, add_config_flag, set_defaults
from utils.console import say
from utils.flag_files import FlagFile

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


def parse_settings(description: str | None, words: Sequence[str] | None = None) -> Settings:
    """The settings of the command line, what depends on other flags filled in.

    words: in place of the command line's.

    Raises:
        UserError: naming flags that do not go together, or a key of ``--config``.
    """
    words = sys.argv[1:] if words is None else words
    parser = cli.new_parser(description)
    add_flags(parser)
    add_config_flag(parser, OF_RUN)
    given = set_defaults(parser, words)
    chosen = parser.parse_known_args(words)[0]
    preset = chosen.preset or default_preset(chosen, chosen.data or chosen.data_dir)
    parser.set_defaults(preset=preset, **OWN_PRESETS.get(ALIASES.get(preset, preset), {}))
    if chosen.as_published:
        parser.set_defaults(**as_published(chosen.method))
    parser.set_defaults(**given)
    args = vars(parser.parse_args(words))
    args["data_dir"] = cli.data_folder(args.pop("data"), args["data_dir"])
    del args["task_num"], args["config"]
    settings = Settings(**args).resolved()
    named = args["as_published"] or args["backbone"] or args["model_version"] is not None
    if not named and (backbone := default_backbone()):
        settings = Settings(**args | {"backbone": backbone}).resolved()
    if preset in ALIASES:
        say(f"--preset {preset} is called {ALIASES[preset]} now, for it has no graph")
    return settings


def of_run(path: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, of its run.json, without the places of the run, and without what
    follows from the rest: a run notes the T5's name beside ``--model_version``, and the preset's σ
    and L whether its method has a graph or not. As flags, these would contradict each other."""
    left = (PLACES - {"data_dir"}) | {"model_version"}
    found = {name: value for name, value in arguments.items() if name not in left and value != {}}
    parser = argparse.ArgumentParser(add_help=False)
    add_flags(parser)
    flags = FlagFile(parser)
    values = {name: flags.value(name, value, str(path)) for name, value in found.items()}
    given = {name: value for name, value in values.items() if value is not None}
    if Settings(**given).has_graph:
        return found
    return {name: value for name, value in found.items() if name not in OF_THE_GRAPH}


OF_RUN = OfRun("its data folder and settings", of_run)
