"""What a run leaves behind: metrics as JSON, predictions as JSON lines, the training log, a page.

python -m modules.training.log ./checkpoint/beauty/    # writes report.html once more
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.reports.page import write_report
from modules.runs.model_card import write_model_card
from modules.training.scalars import Scalars
from utils import cli, distributed
from utils.files import write_json, write_jsonl
from utils.metrics.trec import write_trec
from utils.runtime import commit, progress, say, versions


def run_record(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What every result carries: the command, its arguments, versions and commit."""
    return {
        "command": " ".join(["python", *sys.argv]),
        "arguments": dict(arguments),
        "versions": versions(),
        "commit": commit(),
    }


def write_results(
    folder: Path,
    name: str,
    result: Mapping[str, Any],
    rows: list[dict[str, Any]],
    trec: bool = False,
) -> None:
    """Say the metrics, and write ``<name>.json``, ``<name>.jsonl`` and the pages that show them; of
    several processes, the main one does.

    trec: write ``<name>.run.trec`` and ``<name>.qrels.trec`` as well.
    """
    if not distributed.is_main():
        return
    metrics = result["metrics"]
    width = max(map(len, metrics))
    say(f"{name}: {len(rows):,} rows, protocol {result['protocol']}, items {result['item_ids']}")
    for metric, value in metrics.items():  # before they are written: a full disk takes them not
        print(f"    {metric:<{width}}  {value:.4f}", flush=True)
    write_jsonl(folder / f"{name}.jsonl", rows)
    if trec:
        write_trec(folder, name, rows)
    write_json(folder / f"{name}.json", result)
    write_model_card(folder)
    say(f"written: {folder / name}.json, {folder / name}.jsonl")
    write_report(folder)


class TrainingLog:
    """The progress bar, ``train_log.jsonl``: a line each interval and each validation; and the
    same for TensorBoard."""

    def __init__(
        self, folder: Path, total: int | None, done: int = 0, events: str | None = None
    ) -> None:
        """
        Args:
            folder: the run's.
            total: steps of the run.
            done: those made before it was resumed.
            events: folder for TensorBoard; None = no event files.
        """
        self._file = self._scalars = None
        if distributed.is_main():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "train_log.jsonl").open("a", encoding="utf-8")
            self._scalars = None if events is None else Scalars(events, done)
        self._bar = progress(total, "training", "step")
        self._bar.update(done)
        self._samples = 0

    def step(self, report: Any) -> None:
        """Take a ``fit_reports.StepReport``."""
        self._bar.update()
        self._samples += report.samples
        if report.losses is None:
            return
        losses = {task.label: round(loss, 5) for task, loss in report.losses.items()}
        rate = self._samples / max(self._bar.format_dict["elapsed"], 1e-9)
        shown = {name[:3]: f"{loss:.3f}" for name, loss in losses.items()}
        self._bar.set_postfix({**shown, "samples/s": f"{rate:.0f}"})
        self._write(
            {
                "step": report.step,
                "epoch": report.epoch,
                "train": losses,
                "learning_rate": report.lr,
                "samples_per_second": round(rate, 1),
            }
        )

    def epoch(self, report: Any) -> None:
        """Take a ``fit_reports.EpochReport``."""
        losses = {task.label: round(loss, 5) for task, loss in report.losses.items()}
        self._write(
            {
                "step": report.step,
                "epoch": report.epoch,
                "valid": losses,
                "valid_mean": report.mean,
                "metrics": {name: round(value, 5) for name, value in report.metrics.items()},
                "improved": report.improved,
            }
        )
        parts = ", ".join(f"{name} {x:.4f}" for name, x in {**losses, **report.metrics}.items())
        note = "best so far" if report.improved else f"no better, {report.endured} times in all"
        self._bar.clear()
        say(
            f"epoch {report.epoch}, step {report.step}: validation loss {report.mean:.4f} "
            f"({parts}); {note}"
        )

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        if self._scalars is not None:
            self._scalars.write(line)

    def close(self) -> None:
        """End the bar and the files."""
        self._bar.close()
        if self._scalars is not None:
            self._scalars.close()
        if self._file is not None:
            self._file.close()


def main() -> None:
    """Write ``report.html`` of the folder on the command line."""
    parser = cli.new_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--baselines",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="of compare.py baselines, for comparison; default: those beside RUN, <data>-<name>",
    )
    args = parser.parse_args()
    write_report(args.run, args.baselines)


if __name__ == "__main__":
    cli.run(main)
