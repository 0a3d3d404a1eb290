"""``--config``: a file in place of flags, for any script's parser."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from utils import flag_types
from utils.errors import UserError
from utils.flag_files import FlagFile, read_table


class OfRun(NamedTuple):
    """What a script takes of the run.json of a run."""

    what: str  # for the help: "or the run.json of a run, for ..."
    take: Callable[[Path, Mapping[str, Any]], Mapping[str, Any]]  # flags, of its path and arguments


class _ConfigFlag(argparse._StoreAction):
    def __init__(self, *args: Any, of_run: OfRun | None, **how: Any) -> None:
        super().__init__(*args, **how)
        self.of_run = of_run


def add_config_flag(parser: argparse.ArgumentParser, of_run: OfRun | None = None) -> None:
    """The flag. of_run: None where a run has nothing for the script."""
    record = f"; or the run.json of a run, for {of_run.what}" if of_run else ""
    parser.add_argument(
        "--config",
        action=_ConfigFlag,
        of_run=of_run,
        type=flag_types.path,
        metavar="FILE",
        help="YAML or JSON file with values of flags, by their names without --; those of the "
        f"command line win (docs/training.md){record}",
    )


def parse_flags(
    parser: argparse.ArgumentParser, words: Sequence[str] | None = None
) -> argparse.Namespace:
    """What a command line and its file come to, ``--config`` itself left out. Of a parser with
    commands, the one that is named takes the file.

    words: in place of the command line's.

    Raises:
        UserError: naming the file and the key that cannot be used.
    """
    words = sys.argv[1:] if words is None else words
    set_defaults(_of_command(parser, words), words)
    args = parser.parse_args(words)
    vars(args).pop("config", None)
    return args


def _of_command(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.ArgumentParser:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return next((action.choices[word] for word in words if word in action.choices), parser)
    return parser


def set_defaults(parser: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, Any]:
    """Make the values of the file that a command line names the defaults of a parser.

    A flag of the command line wins: over the file's value of it, and over those that it excludes.

    Returns:
        the values, by where the parser keeps them; {} without a file.

    Raises:
        UserError: naming the file and the key that cannot be used.
    """
    path = _named_file(words)
    config = parser._option_string_actions.get("--config")
    if path is None or config is None:
        return {}
    table, flags = _table(path, config.of_run), FlagFile(parser)
    given, chosen, kept = {}, {}, set()
    typed = _typed(parser, words)
    # What is off comes first: of two flags for one place, the one that is on counts.
    for name, value in sorted(table.items(), key=lambda row: row[1] is not False):
        read, action = flags.value(name, value, str(path)), flags.action(name, str(path))
        if read is None:
            continue
        rivals = _rivals(parser, action)
        if value is not False:
            for other, earlier in chosen.items():
                if earlier in rivals:
                    raise UserError(f"{path}: keys {other!r} and {name!r} exclude each other.")
            chosen[name] = action
        if not typed & {action, *rivals}:
            given[action.dest] = read
            kept |= set() if value is False else {action}
    for action in kept:
        action.required = False
    for group in parser._mutually_exclusive_groups:
        group.required = group.required and not kept & set(group._group_actions)
    if any(action.dest == "data" for action in parser._actions) and "data_dir" in given:
        given["data"] = given.pop("data_dir")  # the same, and a typed one takes its place
    parser.set_defaults(**given)
    return given


def _named_file(words: Sequence[str]) -> Path | None:
    alone = argparse.ArgumentParser(add_help=False, usage=argparse.SUPPRESS)
    alone.add_argument("--config", type=flag_types.path)
    return alone.parse_known_args(words)[0].config


def _table(path: Path, of_run: OfRun | None) -> Mapping[str, Any]:
    """Values by the names of their flags: of a file, or of the record of a run."""
    table = read_table(path, "--config")
    if not {"arguments", "command"} <= table.keys():
        return table
    if of_run is None:
        raise UserError(
            f"{path}: is a record of what was run, and this command takes nothing of one. Give "
            "--config a file of flags."
        )
    if not isinstance(table["arguments"], dict):
        raise UserError(f"{path}: 'arguments' must be a map of settings, as in a run.json.")
    return of_run.take(path, table["arguments"])


def _typed(parser: argparse.ArgumentParser, words: Sequence[str]) -> set[argparse.Action]:
    """The flags on a command line, by their names or by beginnings of these."""
    options, found = parser._option_string_actions, set()
    for word in takewhile(lambda word: word != "--", words):
        name = word.partition("=")[0]
        if name in options:
            found.add(options[name])
        elif name.startswith("--"):
            found |= {action for own, action in options.items() if own.startswith(name)}
    return found


def _rivals(parser: argparse.ArgumentParser, action: argparse.Action) -> set[argparse.Action]:
    """The flags that a flag excludes."""
    groups = (group._group_actions for group in parser._mutually_exclusive_groups)
    return {other for group in groups if action in group for other in group} - {action}
