"""The model card: ``README.md`` of a run's folder, in the form that the Hugging Face hub reads.

Written again after each evaluation.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from modules.runs.kinds import Result
from modules.runs.record import RunRecord, model_about
from utils.own_files import replace_own
from utils.tables import markdown, markdown_text, one_line

CARD = "README.md"
# How cards began before they were sealed (utils/own_files.py).
OLDER_CARDS = ("---\nlibrary_name: transformers\ntags: [recommendation, elmrec]\n---\n",)
HERE = "path/of/this/folder"
_HEAD = """# {title}{data}

A model of the ELMRec project on {backbone}: {about}. Its T5 part loads with
`T5ForConditionalGeneration.from_pretrained`; soft prompts, whole-word embeddings and, where there
is one, the graph are the tensors `elmrec.*` of `model.safetensors`.

```python
# In the folder of ELMRec's code, with what its requirements.txt names:
from modules import Recommender

model = Recommender.load({source})
{example}
```

The code is under the MIT licence; the weights are made of the data set, whose own terms hold for
what is made of it.

{table}

    {command}
"""
_EXAMPLES = {
    True: 'model.recommend(["an item id", "a later one"], k=10)  # ids as in the raw data',
    False: "model.tasks  # without the sequential task, by which it would recommend",
}
# What the hub calls the tasks.
_HUB_TASKS = {
    "sequential": "text-ranking",
    "direct": "text-ranking",
    "explanation": "text-generation",
}


def _front_matter(record: RunRecord, results: Mapping[str, Result]) -> str:
    """What the hub reads, between two lines of dashes."""
    data = re.sub(r"[^A-Za-z0-9._-]+", "-", record.dataset).strip("-._") or "own-data"
    task_types = {_HUB_TASKS[task] for task in record.tasks}
    found = {
        "library_name": "transformers",
        "generator": "ELMRec",
        "license": "mit",
        "pipeline_tag": max(task_types),  # to rank, where it learned that
        "tags": ["recommendation", "elmrec", *record.tasks],
        "datasets": [data],
    }
    if results:
        rows = [
            {
                "task": {"type": _HUB_TASKS[task], "name": f"{task} task"},
                "dataset": {"type": data, "name": record.dataset, "split": "test"},
                "metrics": [
                    {"type": name, "value": value, "name": f"{name}, protocol {result.protocol}"}
                    for name, value in result.metrics.items()
                ],
            }
            for task, result in results.items()
        ]
        found["model-index"] = [{"name": record.title, "results": rows}]
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=False, width=1000)
    return f"---\n{text}---\n"


def model_card(record: RunRecord, results: Mapping[str, Result], source: str = HERE) -> str:
    """The card's text. results: by task. source: what ``Recommender.load`` takes."""
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
        source=json.dumps(source),
        example=_EXAMPLES["sequential" in record.tasks],
    )
    card = _front_matter(record, results) + card
    return card + "".join(_result(task, result) for task, result in results.items())


def _result(task: str, result: Result) -> str:
    rows = [[name, f"{value:.4f}"] for name, value in result.metrics.items()]
    table = markdown(["metric", "value"], rows)
    command = one_line(result.command)
    return f"\n## {task}, {result.users:,} rows\n\n{table}\n\n    {command}\n"


def write_model_card(folder: Path, record: RunRecord, results: Mapping[str, Result]) -> None:
    """Write the card, where no other README.md is."""
    replace_own(folder / CARD, model_card(record, results), OLDER_CARDS)
