"""``items.json`` of a data folder: what the items are called. People read it, no training does.

    {
    "1": {"title": "smooth tea no. 4"},
    "2": {"title": "warm lamp no. 12"}
    }

An entry an item, by its id; items without a title have none. Further keys beside "title" may come
later, and are left alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from utils.errors import UserError, limit
from utils.json_files import is_text, parse_json

ITEMS_FILE = "items.json"
LONGEST = 1000  # characters of a title


def items_json(titles: Mapping[int, str]) -> str:
    """The file's text. titles: by item, none blank."""
    lines = (
        f"{json.dumps(str(item))}: {json.dumps({'title': titles[item]}, ensure_ascii=False)}"
        for item in sorted(titles)
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def parse_titles(path: Path, content: bytes, n_items: int) -> tuple[str, ...]:
    """The title of each item, "" where it has none; [0] is "", so that item i's is [i].

    Raises:
        UserError: naming the file and the key, for anything that is not as data/README.md says.
    """
    table = parse_json(path, content)
    if not isinstance(table, dict):
        raise UserError(
            f'{path}: is {limit(table)}; it must be a map such as {{"1": {{"title": "..."}}}}.'
        )
    item_of = {str(item): item for item in range(1, n_items + 1)}
    titles = [""] * (n_items + 1)
    for key, entry in table.items():
        if key not in item_of:
            raise UserError(
                f"{path}: key {limit(key)} is no item of datamaps.json, which has items 1 to "
                f"{n_items}. Remove the entry."
            )
        title = entry.get("title") if isinstance(entry, dict) else None
        if not is_text(title) or not title.strip() or len(title) > LONGEST:
            shown = f"its 'title' is {limit(title)}" if isinstance(entry, dict) else limit(entry)
            raise UserError(
                f'{path}: key {key!r}: {shown}; it must be {{"title": "..."}} with a text that '
                f"is not blank, of at most {LONGEST} characters. Items without one have no entry."
            )
        titles[item_of[key]] = title
    return tuple(titles)
