"""Readers of a run's folder, and its files as somebody else may write them."""

import json
from unittest import mock

import torch

from modules.reports import plots
from modules.reports.entries import entries
from modules.reports.page import build
from modules.reports.paired_tests import describe_sides, differences, differences_as_markdown
from modules.reports.sources import read_results
from modules.reports.tables import entries_as_csv, entries_as_markdown
from modules.runs.model_card import model_card
from modules.runs.record import read_record
from modules.runs.results import read_all_results
from modules.runs.run import open_run
from utils.errors import UserError
from utils.files import sha256
from utils.json_files import write_json
from utils.runtime import Machine

CPU = Machine(torch.device("cpu"), "fp32")
DEEP = json.loads("[" * 500 + "]" * 500)
INFINITY = float("inf")  # is written 1e999, which JSON allows


# ------------------------------------------------------------------------------ the readers


def page(base):
    return build(read_results(base / "run", None))


def table(base):
    found = entries([base / "run", base / "data-item_knn"])
    return entries_as_markdown(found, catalogue=True) + entries_as_csv(found)


def test(base):
    sides = [base / "run"], [base / "other"]
    found, runs = differences(*sides, ("sequential", "direct"), 0, 9)
    return describe_sides(runs, 0.05, 1) + differences_as_markdown(found, 0.05)


def card(base):
    folder = base / "run"
    record = read_record(folder)
    return model_card(record, read_all_results(folder, record, strict=False))


def opened(base):
    open_run(base / "run", base / "data", CPU)
    return ""


test.__test__ = False
READERS = {reader.__name__: reader for reader in (page, table, test, card, opened)}
OF_RESULTS = ("page", "table", "test", "card")


def read(name, base):
    """What a reader returns, or its message: of a UserError, in one line that a terminal shows."""
    with mock.patch.object(plots, "_plot", lambda alt, draw, height: plots.Plot(alt, "data:,")):
        try:
            return READERS[name](base)
        except UserError as error:
            message = str(error)
            assert len(message) < 1000, message[:2000]
            return f"UserError: {message}"


def write_bad(path, value):
    """JSON of whatever value, with infinity as a number that JSON allows; then the checksums that
    run.json and <task>.json keep of the file, so that what is behind them is reached."""
    text = json.dumps(value).replace("Infinity", "1e999")
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row).replace("Infinity", "1e999") + "\n" for row in value)
    path.write_text(text)
    for record in (path.with_name("run.json"), path.with_suffix(".json")):
        if record == path or not record.is_file():
            continue
        content = json.loads(record.read_text())
        if path.name in content.get("files", ()):
            content["files"][path.name] = sha256(path)
            write_json(record, content)


def content_of(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return json.loads(path.read_text())


RUN = "run/run.json"
RESULT, ROWS = "run/sequential.json", "run/sequential.jsonl"
TEXT, TEXTS, LOG = "run/explanation.json", "run/explanation.jsonl", "run/train_log.jsonl"
VERDICT = "run/verdict.json"
CONFIG, NUMBERS, BASELINE = (
    "run/config.json",
    "run/item_numbers.json",
    "data-item_knn/sequential.json",
)
OF_FILE = {
    RUN: READERS,
    RESULT: OF_RESULTS,
    ROWS: ("page", "test"),
    TEXT: ("page", "table", "card"),
    TEXTS: ("page",),
    LOG: ("page",),
    CONFIG: ("opened", "page"),
    NUMBERS: ("opened",),
    VERDICT: ("page",),
    BASELINE: ("page", "table"),
}
