"""The model card: ``README.md`` of a run's folder, in the form that the Hugging Face hub reads.

It knows the folder's JSON files and nothing of models. Written again after each evaluation.
"""

from pathlib import Path
from typing import Any

from modules.tasks import TASKS
from utils.files import read_json, write_text

_HEAD = """---
library_name: transformers
tags: [recommendation, elmrec]
---
# ELMRec, {dataset}

{method} on {backbone}: a T5 that recommends and explains, told about the user-item graph (ELMRec,
EMNLP 2024). Its T5 part loads with `T5ForConditionalGeneration.from_pretrained`; soft prompts,
whole-word embeddings and the graph are the tensors `elmrec.*` of `model.safetensors`.

| | |
| --- | --- |
| data set | {dataset} |
| protocol | {protocol}, item numbers {item_ids} |
| held-out pairs seen in training | {seen} |
| seed | {seed} |
| commit | {commit} |

    {command}
"""


def model_card(folder: Path) -> str:
    """The card's text, from run.json and the results that are there."""
    run = read_json(folder / "run.json")
    arguments = run["arguments"]
    edges, records = run["held_out_edges_seen"], run["held_out_records_seen"]
    card = _HEAD.format(
        dataset=run["dataset"],
        method=arguments["method"],
        backbone=arguments.get("backbone") or "an imported T5",
        protocol=arguments["protocol"],
        item_ids=arguments["item_ids"],
        seen=f"{edges:,} as edges, {records:,} as explanation records",
        seed=arguments["seed"],
        commit=run["commit"],
        command=run["command"],
    )
    for task in TASKS:
        if (folder / f"{task}.json").is_file():
            card += _results(task, read_json(folder / f"{task}.json"))
    return card


def _results(task: str, result: dict[str, Any]) -> str:
    metrics = result["metrics"]
    lines = [f"\n## {task}, {result['users']:,} rows\n", "| metric | value |", "| --- | --- |"]
    lines += [f"| {name} | {value:.4f} |" for name, value in metrics.items()]
    return "\n".join([*lines, "", f"    {result['command']}", ""])


def write_model_card(folder: Path) -> None:
    """Write the card where the folder holds a trained model; a baseline's folder holds none."""
    if (folder / "run.json").is_file():
        write_text(folder / "README.md", model_card(folder))
