"""The parts of a preparation put together: a raw file in, a data folder out (prepare.py).

Three passes over the raw file: users, items, times; a sample of texts, to learn features from;
the texts of the kept pairs. Memory grows with the interactions, not with their texts.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modules.data.dataset import RecDataset
from modules.data.negatives import NegativeSampler
from modules.preparation.explanations import SPLITS, explain_pairs
from modules.preparation.filters import (
    LEAST_HISTORY,
    Kept,
    gather,
    keep,
    write_histories,
    write_negatives,
)
from modules.preparation.formats import BadLines
from modules.preparation.rows import RawFile, Rows, read_rows
from modules.randomness import Stream, rng
from utils.console import progress, say
from utils.errors import UserError
from utils.files import sha256, write_json

FILES = ("sequential.txt", "datamaps.json", "negative.txt", "explanation.json", "stats.json")
MANY_TIES = 0.05  # share of users from which ties in time are worth a word


@dataclass(frozen=True)
class Options:
    """What decides how the folder comes out; see the flags of prepare.py."""

    core: int
    min_rating: float | None
    numbering: str
    negative_num: int
    explanation: str  # "sentence", "summary" or "none"
    strict: bool
    seed: int


def prepare_folder(
    raw: RawFile, folder: Path, options: Options, record: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the files of a data folder, aside first: they take their places together.

    Args:
        record: what stats.json is to hold besides, such as the command.

    Returns:
        The content of stats.json.

    Raises:
        UserError: where a line is bad under --strict, nothing is left, or negatives do not fit.
    """
    kept, counts = _read(raw, options)
    dataset = RecDataset(
        name=folder.name,
        folder=folder,
        user_names=kept.user_names,
        item_names=kept.item_names,
        items=kept.items,
        offsets=kept.offsets,
        negatives=None,
        explanations=None,
        fingerprints={},
    )
    sampler = NegativeSampler(dataset, options.negative_num)
    negatives = rng(options.seed, Stream.PREPARE_NEGATIVES)
    with _aside(folder) as aside:
        write_histories(aside, kept)
        write_negatives(aside, dataset.n_users, lambda users: sampler.draw(users, negatives))
        explanations = _explain(raw, kept, aside, options)
        records = sum(explanations.get(name, 0) for name in SPLITS)
        stats = {
            "users": dataset.n_users,
            "items": dataset.n_items,
            "interactions": len(kept.rows),
            "density": len(kept.rows) / (dataset.n_users * dataset.n_items),
            "explanation_coverage": records / len(kept.rows),  # pairs with a record in the file
            "explanations": explanations,
            "last_two_at_one_time": kept.tied,  # share of users
            "rows": counts,
            "raw_sha256": sha256(raw.path),
            "seed": options.seed,
            **record,
        }
        write_json(aside / "stats.json", stats)
    return stats


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A folder to write to, whose files move to ``folder`` once all are there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".preparing-") as aside:
            yield Path(aside)
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
            for path in Path(aside).iterdir():
                path.replace(folder / path.name)
    except OSError as error:
        raise UserError(
            f"--out {folder}: cannot be written ({error.strerror or error}). Free space or choose "
            "another folder."
        ) from error


def _read(raw: RawFile, options: Options) -> tuple[Kept, dict[str, int]]:
    """The first pass and the filters. Returns what is left, and where every row went."""
    bad = BadLines(raw.path, options.strict)
    data = gather(_shown(raw, bad, "reading", rating=options.min_rating is not None))
    for message in bad.first:
        say(f"bad: {message}")
    if not len(data.users):
        raise UserError(f"{raw.path}: no good row among {bad.count:,}.")
    if options.core < LEAST_HISTORY:
        say(
            f"--core {options.core}: users with fewer than {LEAST_HISTORY} items go all the same; "
            "leave-one-out needs a test item, a validation item and two more"
        )
    numbers = rng(options.seed, Stream.PREPARE_NUMBERS)
    kept = keep(data, options.min_rating, options.core, options.numbering, numbers)
    counts = {"read": len(data.users) + bad.count, "bad": bad.count}
    counts |= kept.left_out | {"kept": len(kept.rows)}
    say(_account(counts))
    if raw.roles.time and kept.tied > MANY_TIES:
        say(
            f"for {kept.tied:.0%} of the users the test item has the time of the one before it: "
            "which is the last is then the order of the file, and no more than that"
        )
    return kept, counts


def _explain(raw: RawFile, kept: Kept, folder: Path, options: Options) -> dict[str, int]:
    """The passes over the texts. Returns where every pair went; {} where there are no texts."""
    role = {"sentence": "text", "summary": "title"}.get(options.explanation)
    if role is None or getattr(raw.roles, role) is None:
        reason = "there are no texts" if role else "--explanation none"
        say(f"no explanation.json ({reason}); train with --tasks sequential,direct")
        return {}
    silent = BadLines(raw.path, False)  # the first pass has told them
    counts = explain_pairs(
        lambda title: _shown(raw, silent, title, options.min_rating is not None, role),
        kept,
        options.explanation,
        folder / "explanation.json",
        rng(options.seed, Stream.PREPARE_EXPLANATIONS),
    )
    say("explanations: " + _account({"pairs": len(kept.rows)} | counts))
    if not (folder / "explanation.json").exists():
        say(
            "no explanation.json (a split of it would be empty: too few texts mention a feature); "
            "train with --tasks sequential,direct"
        )
        return {}
    return counts


def _shown(
    raw: RawFile, bad: BadLines, title: str, rating: bool, text: str | None = None
) -> Iterator[Rows]:
    """A pass over the raw file, under a progress bar."""
    with progress(100, title, "%") as bar:
        yield from read_rows(
            raw, bad, lambda part: bar.update(int(100 * part) - bar.n), rating, text
        )


def _account(counts: dict[str, int]) -> str:
    """``{"read": 9, "bad": 2, "kept": 7}`` -> "9 read = 2 bad + 7 kept"; the sum holds."""
    (whole, total), *parts = counts.items()
    return f"{total:,} {whole} = " + " + ".join(f"{n:,} {name}" for name, n in parts)
