"""The model card: ``README.md`` of a run's folder, in the form that the Hugging Face hub reads.

Written again after each evaluation.
"""

from collections.abc import Mapping
from pathlib import Path

from modules.runs.kinds import Result
from modules.runs.record import RunRecord, model_about
from utils.own_files import replace_own
from utils.tables import markdown, markdown_text, one_line

CARD = "README.md"
# How cards began before they were sealed (utils/own_files.py).
OLDER_CARDS = ("---\nlibrary_name: transformers\ntags: [recommendation, elmrec]\n---\n",)
_HEAD = """---
library_name: transformers
generator: ELMRec
tags: [recommendation, elmrec]
---
# {title}{data}

A model of the ELMRec project on {backbone}: {about}. Its T5 part loads with
`T5ForConditionalGeneration.from_pretrained`; soft prompts, whole-word embeddings and, where there
is one, the graph are the tensors `elmrec.*` of `model.safetensors`.

{table}

    {command}
"""


def model_card(record: RunRecord, results: Mapping[str, Result]) -> str:
    """The card's text. results: by task."""
    title = record.title
    edges, records = record.held_out_edges_seen, record.held_out_records_seen
    rows = [
        ["data set", record.dataset],
        ["protocol", f"{record.protocol}, item numbers {record.item_ids}"],
        [
            "held-out pairs seen in training",
            f"{edges:,} as edges, {records:,} as explanation records",
        ],
        ["seed", str(record.seed)],
        ["commit", str(record.commit)],
    ]
    card = _HEAD.format(
        title=title,
        data=f"{'; data set' if ';' in title else ' on'} {markdown_text(record.dataset)}",
        backbone=markdown_text(record.arguments.get("backbone") or "an imported T5"),
        about=model_about(record.arguments),
        table=markdown(["", ""], rows),
        command=one_line(record.command),
    )
    return card + "".join(_result(task, result) for task, result in results.items())


def _result(task: str, result: Result) -> str:
    rows = [[name, f"{value:.4f}"] for name, value in result.metrics.items()]
    table = markdown(["metric", "value"], rows)
    command = one_line(result.command)
    return f"\n## {task}, {result.users:,} rows\n\n{table}\n\n    {command}\n"


def write_model_card(folder: Path, record: RunRecord, results: Mapping[str, Result]) -> None:
    """Write the card, where no other README.md is."""
    replace_own(folder / CARD, model_card(record, results), OLDER_CARDS)
