"""Files of settings, YAML or JSON, read strictly: their values are what flags would be given.

What stands in a file is taken as it is typed there, as on a command line: ``no`` is a word, and
``1e-3`` and ``012`` are what the flag makes of them. Only ``true``, ``false`` and nothing
(``null``, ``~``) mean something of their own.
"""

import argparse
import difflib
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from utils.errors import UserError, limit
from utils.files import BYTE_ORDER_MARK, read_file
from utils.flag_types import path, path_name
from utils.json_files import parse_json

MAX_FILE = 1 << 22  # bytes; the arguments of a run take a few thousand
ENDINGS = (".yaml", ".yml", ".json")
_NOTHING = ("", "null", "~")


def read_table(path: Path, flag: str) -> dict[str, Any]:
    """A file of settings: texts, lists and maps of them, ``True`` and ``False``, None for nothing.

    flag: that names the file, for errors.

    Raises:
        UserError: naming the file, and the line or the key, where it is no map of settings.
    """
    if path.suffix not in ENDINGS:
        raise UserError(f"{flag} {path}: must end in {', '.join(ENDINGS)}. Name such a file.")
    content = read_file(path, f"{flag} names a file of settings.", MAX_FILE)
    try:
        read = parse_json if path.suffix == ".json" else _parse_yaml
        value = _as_typed(read(path, content))
    except RecursionError as error:
        raise UserError(f"{path}: lists or maps are nested too deep to be read.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: must be a map of settings, such as `seed: 1`.")
    return value


def _parse_yaml(path: Path, content: bytes) -> Any:
    import yaml  # 0.03 s, and only where a file is named

    class Reader(yaml.BaseLoader):  # every value is the text that was typed
        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            if isinstance(event, yaml.AliasEvent):
                raise UserError(
                    f"{path}, line {event.start_mark.line + 1}: *{event.anchor} stands for another "
                    "part of the file. Write it out."
                )
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise UserError(f"{path}, line {line}: a key must be one word.")
                if key.value in seen:
                    raise UserError(
                        f"{path}, line {line}: key {limit(key.value)} is given twice in one map. "
                        "Remove one of the two."
                    )
                seen.add(key.value)
            return super().construct_mapping(node, deep=True)

    try:
        text = content.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
        return yaml.load(text, Reader)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8. Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
        raise UserError(f"{path}{at}: broken YAML ({reason}). Mend that line.") from error


def _as_typed(value: Any) -> Any:
    """A value of YAML or of JSON, in the terms of ``read_table``."""
    if isinstance(value, dict):
        return {str(key): _as_typed(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_as_typed(own) for own in value]
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    return {"true": True, "false": False}.get(text, None if text in _NOTHING else text)


class _FileParser(argparse.ArgumentParser):
    """A parser whose errors are of a file's key."""

    where = ""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.where}: {message.partition(': ')[2] or message}.")


class FlagFile:
    """The flags that a file may set, each read as on the command line."""

    def __init__(
        self, parser: argparse.ArgumentParser, but: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """but: names of flags that a file must not set, and why."""
        self._but = {"config": "a file cannot name another.", **but}
        self._parser = _FileParser(add_help=False, allow_abbrev=False)
        self._actions: dict[str, argparse.Action] = {}
        for action in parser._actions:
            known = not isinstance(action, argparse._HelpAction | argparse._VersionAction)
            if known and action.option_strings and action.help != argparse.SUPPRESS:
                alone = copy(action)
                alone.required = False
                self._parser._add_action(alone)
                names = (option.removeprefix("--") for option in action.option_strings)
                self._actions |= dict.fromkeys(names, action)

    def words(self, name: str, value: Any, where: str) -> list[str]:
        """What would be typed for one setting: [] where it says nothing, or that a switch is off.

        where: the file, and the key that the setting is below, for errors.

        Raises:
            UserError: naming the key, where there is no such flag, or it takes no such value.
        """
        action, place = self.action(name, where), where
        where = f"{where}, key {name!r}"
        if value is None:
            return []
        if action.nargs == 0:  # a switch
            if not isinstance(value, bool):
                raise UserError(f"{where}: {limit(value)} must be true or false.")
            return [f"--{name}"] if value else []
        if value is True and action.nargs == "?":  # a flag whose value may be left out
            return [f"--{name}"]
        if isinstance(value, bool):
            raise UserError(f"{where}: must be a value, as --{name} takes; not true or false.")
        if isinstance(value, list) and isinstance(action, argparse._AppendAction):
            return [word for part in value for word in self.words(name, part, place)]
        words = [f"--{name}={self._text(action, value, where)}"]
        self._parser.where = where
        self._parser.parse_args(words)
        return words

    def value(self, name: str, value: Any, where: str) -> Any:
        """The value that a flag has where a file sets it; None where it says nothing."""
        if value is None:
            self.action(name, where)
            return None
        words = self.words(name, value, where)
        return getattr(self._parser.parse_args(words), self._actions[name].dest)

    def action(self, name: str, where: str) -> argparse.Action:
        """The flag of a name; UserError naming it, where a file cannot set such a one."""
        if name in self._but:
            raise UserError(f"{where}, key {name!r}: {self._but[name]}")
        if name in self._actions:
            return self._actions[name]
        known = [own for own in self._actions if own not in self._but]
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"closest: {', '.join(near)}" if near else f"known: {', '.join(known)}"
        raise UserError(f"{where}: unknown key {limit(name)}; {hint}.")

    @staticmethod
    def _text(action: argparse.Action, value: Any, where: str) -> str:
        """A list as ``a,b``, a map as ``a=b,c=d``, for flags that read such texts."""
        if isinstance(value, str):
            return value
        parts = value if isinstance(value, list) else [*value, *value.values()]
        one = action.type in (None, path, path_name)
        if one or not parts or not all(isinstance(part, str) for part in parts):
            raise UserError(f"{where}: must be one value, not a list or a map.")
        return ",".join(value if isinstance(value, list) else map("=".join, value.items()))
