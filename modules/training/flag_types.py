"""The flags of pretrain.py as fields, and their values that name tasks."""

import argparse
from dataclasses import field
from typing import Any

from modules.tasks import Task, WholeWords
from utils.errors import limit
from utils.flag_types import names

_TASKS = tuple(task.label for task in Task)
_IDS = tuple(scheme.value for scheme in WholeWords)


def flag(group: str, default: Any, text: str, **how: Any) -> Any:
    """A field that is a flag. group: of the help; how: further arguments of argparse."""
    if isinstance(default, list | dict):
        return field(
            default_factory=default.copy, metadata={"group": group, "help": text, "how": how}
        )
    if default is False:
        how["action"] = "store_true"
    return field(default=default, metadata={"group": group, "help": text, "how": how})


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
