"""The model card: ``README.md`` of a run's folder, in the form that the Hugging Face hub reads.

Written again after each evaluation.
"""

from pathlib import Path
from typing import Any

from modules.runs.record import RUN_FILE, RunRecord, read_record
from modules.tasks import METHODS, TASKS
from utils.files import write_text
from utils.json_files import read_json
from utils.tables import markdown, one_line

_HEAD = """---
library_name: transformers
tags: [recommendation, elmrec]
---
# {title}{data}

A model of the ELMRec project on {backbone}{about}. Its T5 part loads with
`T5ForConditionalGeneration.from_pretrained`; soft prompts, whole-word embeddings and, where there
is one, the graph are the tensors `elmrec.*` of `model.safetensors`.

{table}

    {command}
"""
_ELMREC = ": a T5 that recommends and explains, and knows the user-item graph (EMNLP 2024)"


def model_card(record: RunRecord, results: dict[str, dict[str, Any]]) -> str:
    """The card's text. results: task -> ``<task>.json``."""
    arguments, title = record.arguments, record.title
    edges, records = record.held_out_edges_seen, record.held_out_records_seen
    rows = [
        ["data set", record.dataset],
        ["protocol", f"{arguments['protocol']}, item numbers {arguments['item_ids']}"],
        [
            "held-out pairs seen in training",
            f"{edges:,} as edges, {records:,} as explanation records",
        ],
        ["seed", str(record.seed)],
        ["commit", str(record.commit)],
    ]
    card = _HEAD.format(
        title=title,
        data=f"{'; data set' if ';' in title else ' on'} {one_line(record.dataset)}",
        backbone=arguments.get("backbone") or "an imported T5",
        about=_ELMREC if title == METHODS["elmrec"].title else "",
        table=markdown(["", ""], rows),
        command=one_line(record.command),
    )
    return card + "".join(_result(task, result) for task, result in results.items())


def _result(task: str, result: dict[str, Any]) -> str:
    rows = [[name, f"{value:.4f}"] for name, value in result["metrics"].items()]
    table = markdown(["metric", "value"], rows)
    command = one_line(result["command"])
    return f"\n## {task}, {result['users']:,} rows\n\n{table}\n\n    {command}\n"


def write_model_card(folder: Path) -> None:
    """Write the card where the folder holds a trained model; a baseline's folder holds none."""
    if (folder / RUN_FILE).is_file():
        paths = {task: folder / f"{task}.json" for task in TASKS}
        results = {task: read_json(path) for task, path in paths.items() if path.is_file()}
        write_text(folder / "README.md", model_card(read_record(folder), results))
