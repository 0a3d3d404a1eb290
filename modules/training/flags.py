"""The command line of pretrain.py: its flags are the fields of ``Settings``, defined there."""

import argparse
from dataclasses import fields
from typing import Any

from modules.presets import ALIASES, OWN_PRESETS
from modules.training.published import GROUP, as_published
from modules.training.settings import Settings
from utils import cli
from utils.console import say

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


def parse_settings(description: str | None) -> Settings:
    """The settings of the command line, what depends on other flags filled in.

    Raises:
        UserError: naming flags that do not go together.
    """
    parser = cli.new_parser(description)
    add_flags(parser)
    chosen = parser.parse_known_args()[0]
    preset = chosen.preset
    parser.set_defaults(**OWN_PRESETS.get(ALIASES.get(preset, preset), {}))
    if chosen.as_published:
        parser.set_defaults(**as_published(chosen.method))
    args = vars(parser.parse_args())
    args["data_dir"] = cli.data_folder(args.pop("data"), args["data_dir"])
    del args["task_num"]
    settings = Settings(**args).resolved()
    if preset in ALIASES:
        say(f"--preset {preset} is called {ALIASES[preset]} now, for it has no graph")
    return settings
