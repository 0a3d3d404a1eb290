"""The settings of a report: of the training, and of each evaluation.

It prepares values; templates/report.html shows them.
"""

from collections.abc import Mapping

from modules.runs.kinds import Result
from modules.runs.record import RunRecord


def settings_of(
    records: Mapping[str, RunRecord | Result],
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Names and values of each record's settings, without what nobody set. ``data_dir`` says what
    ``data`` does."""
    found = {}
    for part, record in records.items():
        rows = ((name, _value(value)) for name, value in record.arguments.items())
        found[part] = [(name, value) for name, value in rows if value and name != "data"]
    return [(part, rows) for part, rows in found.items() if rows]


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
