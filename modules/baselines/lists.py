"""Lists of another program: which users and items of the data a run file of TREC speaks of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from modules.data.dataset import RecDataset
from utils.errors import UserError, limit
from utils.metrics.trec import RunLine, read_run

IDS = ("numbers", "original")


class Lists(NamedTuple):
    """What is added, and how it is evaluated."""

    path: Path  # run file
    name: str
    task: str
    ids: str | None  # of ``IDS``; None: what the file fits
    seed: int
    top_n: int
    negative_num: int
    seen: str  # modules/evaluation/seen.py


class Listed(NamedTuple):
    """An item of a list, and where it stands."""

    item: int
    line: RunLine


def by_user(dataset: RecDataset, lists: Lists) -> dict[int, list[Listed]]:
    """The file's lists by user number, best first.

    Raises:
        UserError: naming the line of what is no user or item of the data, or could be two.
    """
    run = read_run(lists.path)
    firsts = {query: rows[0].line for query, rows in run.items()}
    documents = {row.document: row.line for rows in run.values() for row in rows[::-1]}
    users = _numbers(lists, "user", dataset.user_names, firsts)
    items = _numbers(lists, "item", dataset.item_names, documents)
    return {
        users[query]: [Listed(items[row.document], row) for row in rows]
        for query, rows in run.items()
    }


def _numbers(
    lists: Lists, what: str, names: Sequence[str], lines: Mapping[str, int]
) -> dict[str, int]:
    """Number of each text of the file. lines: where each stands."""
    by_number = {str(number): number for number in range(1, len(names))}
    original = {name: number for number, name in enumerate(names) if number}
    readings = {"numbers": by_number, "original": original}
    if lists.ids:
        readings = {lists.ids: readings[lists.ids]}
    unknown = {how: [t for t in lines if t not in known] for how, known in readings.items()}
    how = min(readings, key=lambda how: len(unknown[how]))  # numbers, where both fit as well
    if unknown[how]:
        text = min(unknown[how], key=lines.__getitem__)
        meant = {"numbers": f"a number from 1 to {len(names) - 1:,}", "original": "an original id"}
        fits = " nor ".join(meant[how] for how in readings)
        raise UserError(
            f"{lists.path}, line {lines[text]}: {what} {limit(text)} is not in the data: it is "
            f"{'neither ' * (len(readings) > 1)}{'not ' * (len(readings) == 1)}{fits} of "
            "datamaps.json. Mend the line, or name the data folder that the lists are of."
        )
    if all(not left for left in unknown.values()) and len(readings) > 1:
        unlike = next((t for t in lines if by_number[t] != original[t]), None)
        if unlike is not None:
            raise UserError(
                f"{lists.path}, line {lines[unlike]}: {what} {limit(unlike)} is the number of one "
                f"{what} and the original id of another. Say which with --ids numbers or original."
            )
    return {text: readings[how][text] for text in lines}
