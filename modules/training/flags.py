"""The command line of pretrain.py: its flags are the fields of ``Settings``, defined there; and
``--config``, a file that gives their defaults."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from modules.presets import ALIASES, OWN_PRESETS
from modules.runs.record import PLACES
from modules.training.defaults import default_backbone, default_preset
from modules.training.published import GROUP, OF_THE_GRAPH, as_published
from modules.training.settings import Settings
from utils import cli, flag_types
from utils.console import say
from utils.errors import UserError
from utils.flag_files import FlagFile, read_table

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
    parser = cli.new_parser(description)
    add_flags(parser)
    group = next(group for group in parser._action_groups if group.title == "data")
    group.add_argument(
        "--config",
        type=flag_types.path,
        metavar="FILE",
        help="YAML or JSON with the flags' defaults, by their names; or the run.json of a run, for "
        "its settings (docs/training.md)",
    )
    config = parser.parse_args(words).config
    given = _of_file(parser, config) if config else {}
    data_dir = given.pop("data_dir", None)  # only where the command line names none
    parser.set_defaults(**given)
    chosen = parser.parse_known_args(words)[0]
    preset = chosen.preset or default_preset(chosen, chosen.data or chosen.data_dir or data_dir)
    parser.set_defaults(preset=preset, **OWN_PRESETS.get(ALIASES.get(preset, preset), {}))
    if chosen.as_published:
        parser.set_defaults(**as_published(chosen.method))
    parser.set_defaults(**given)
    args = vars(parser.parse_args(words))
    named = args["data_dir"] or (None if args["data"] else data_dir)
    args["data_dir"] = cli.data_folder(args.pop("data"), named)
    del args["task_num"], args["config"]
    settings = Settings(**args).resolved()
    named = args["as_published"] or args["backbone"] or args["model_version"] is not None
    if not named and (backbone := default_backbone()):
        settings = Settings(**args | {"backbone": backbone}).resolved()
    if preset in ALIASES:
        say(f"--preset {preset} is called {ALIASES[preset]} now, for it has no graph")
    return settings


def flag_file(parser: argparse.ArgumentParser, **but: str) -> FlagFile:
    """What a file may set of the flags of a parser with ``add_flags``. but: see ``FlagFile``."""
    return FlagFile(parser, {"config": "a file cannot name another.", **but})


def _of_file(parser: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    """The values of ``--config`` by the name of the flag.

    A run.json is read without the places of its run, and without what follows from the rest: a run
    notes the T5's name beside ``--model_version``, and the preset's σ and L whether its method has
    a graph or not. As flags, these would contradict each other.
    """
    table = read_table(path, "--config")
    of_run = {"arguments", "command"} <= table.keys()
    if of_run:
        if not isinstance(table["arguments"], dict):
            raise UserError(f"{path}: 'arguments' must be a map of settings, as in a run.json.")
        left = (PLACES - {"data_dir"}) | {"model_version"}
        rows = table["arguments"].items()
        table = {name: value for name, value in rows if name not in left and value != {}}
    flags = flag_file(parser)
    values = {name: flags.value(name, value, str(path)) for name, value in table.items()}
    given = {name: value for name, value in values.items() if value is not None}
    if of_run and not Settings(**given).has_graph:
        return {name: value for name, value in given.items() if name not in OF_THE_GRAPH}
    return given
