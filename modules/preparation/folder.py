"""The parts of a preparation put together: a raw file in, a data folder out (prepare.py).

Three passes over the raw file: users, items and times; a sample of texts, to learn features from;
the texts of the kept pairs. One more over the file of titles, where there is one. Memory grows with
the number of interactions, not with their texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.data.dataset import MIN_HISTORY, RecDataset
from modules.data.negatives import NegativeSampler, default_count
from modules.data.titles import ITEMS_FILE, items_json
from modules.preparation.crew import Crew
from modules.preparation.explanations import SPLITS, Wanted, explain_pairs
from modules.preparation.features import require_tagger
from modules.preparation.filters import (
    Interactions,
    Kept,
    gather,
    keep,
    write_histories,
    write_negatives,
)
from modules.preparation.formats import BadLines
from modules.preparation.language import require_language
from modules.preparation.rows import RawFile, Rows, read_rows
from modules.preparation.titles import TitleFile, read_titles
from modules.randomness import Stream, rng
from utils.console import progress, say
from utils.errors import UserError, limit
from utils.files import LOCK_FILE, sha256, sweep, whole_folder, write_text
from utils.json_files import write_json
from utils.locks import locked

FILES = ("sequential.txt", "datamaps.json", "negative.txt", "explanation.json")
FILES += (ITEMS_FILE, "stats.json")
MANY_TIES = 0.05  # share of users above which ties in time are reported


@dataclass(frozen=True)
class Options:
    """What decides the content of the folder; the fields are flags of prepare.py."""

    core: int
    min_rating: float | None
    numbering: str
    negative_num: int | None  # None: 99, or as many as can be drawn
    explanation: str  # "sentence", "summary" or "none"
    strict: bool
    seed: int
    language: str = "en"  # of explanations; or "any"
    explain_from_rating: float | None = None


def prepare_folder(
    raw: RawFile,
    folder: Path,
    options: Options,
    record: Mapping[str, Any],
    titles: TitleFile | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """Write a data folder, whole or not at all. ``own_folder`` holds it.

    Args:
        record: further entries of stats.json, such as the command.
        titles: where the titles of items are; None: there will be no items.json.
        processes: that read texts; the files are the same whatever the number (crew.py).

    Returns:
        The content of stats.json.

    Raises:
        UserError: where a line is bad under --strict, no interaction or no title is left, there
            are too few items for the negatives, or textblob or py3langid is needed and missing.
    """
    if text := _text_role(raw, options):
        require_tagger()  # now, not after the first pass
        require_language(options.language)
    raw = raw.with_texts(text)
    kept, counts = _read(raw, options)
    dataset = _dataset(folder, kept)
    sampler = NegativeSampler(dataset, options.negative_num or default_count(dataset))
    negatives = rng(options.seed, Stream.PREPARE_NEGATIVES)
    with whole_folder(folder) as aside:
        titled = _write_titles(titles, kept, aside, options)
        write_histories(aside, kept)
        write_negatives(aside, dataset, lambda users: sampler.draw(users, negatives))
        with Crew(processes) as crew:
            explanations = _explain(raw, kept, aside, options, crew)
        stats = {
            **_sizes(dataset, kept, explanations),
            "item_titles": titled,
            "last_two_at_one_time": kept.tied,  # share of users
            **counts,
            "raw_sha256": sha256(raw.path),
            "titles_sha256": sha256(titles.path) if titles else None,
            "seed": options.seed,
            **record,
        }
        write_json(aside / "stats.json", stats)
    return stats


def _sizes(dataset: RecDataset, kept: Kept, explanations: dict[str, int]) -> dict[str, Any]:
    interactions = len(kept.rows)
    records = sum(explanations.get(name, 0) for name in SPLITS)
    return {
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": interactions,
        "density": interactions / (dataset.n_users * dataset.n_items),
        "explanation_coverage": records / interactions,  # pairs with a record in the file
        "explanations": explanations,
    }


def _dataset(folder: Path, kept: Kept) -> RecDataset:
    """The histories alone, as much as negatives need."""
    return RecDataset(
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


@contextmanager
def own_folder(folder: Path, inputs: Sequence[Path], overwrite: bool) -> Iterator[None]:
    """Hold the folder of ``--out``: nobody else prepares data there meanwhile.

    Args:
        inputs: files that are read, and are never replaced.
        overwrite: a data folder that is there may be replaced, as a whole.

    Raises:
        UserError: where another process has it, or it holds something that must stay.
    """
    _check_replaceable(folder, inputs, overwrite)  # before a byte is written
    place = folder.resolve()
    with locked(place.with_name(f".{place.name}{LOCK_FILE}"), f"--out {folder}"):
        sweep(place.parent, only=place.name)
        _check_replaceable(folder, inputs, overwrite)  # it may have got its name back
        yield


def _check_replaceable(folder: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder}: is a file. Name a folder.")
    held = sorted(path for path in folder.iterdir()) if folder.is_dir() else []
    if foreign := [path for path in held if path.name not in FILES or not path.is_file()]:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise UserError(
            f"--out {folder}: holds {limit(foreign[0].name)}{more}, which is no file of a data "
            "folder. Name a new or an empty folder."
        )
    if read := [one for one in inputs if any(path.samefile(one) for path in held)]:
        raise UserError(f"--out {folder}: holds {read[0]}, which is read. Name another folder.")
    if held and not overwrite:
        names = ", ".join(path.name for path in held)
        raise UserError(
            f"--out {folder}: already holds {names}. Name another folder, or add --overwrite."
        )
    if Path.cwd().is_relative_to(folder.resolve()):
        raise UserError(
            f"--out {folder}: the folder that this command runs in cannot be replaced. Run it from "
            "outside, or name a folder in it."
        )


def _read(raw: RawFile, options: Options) -> tuple[Kept, dict[str, dict[str, int]]]:
    """The first pass and the filters: what is kept, and where each row, user and item of the file
    went, as entries of stats.json."""
    bad = BadLines(raw.path, options.strict)
    data = gather(_shown(raw, bad, "reading", rating=options.min_rating is not None))
    for remark in (*(f"bad: {message}" for message in bad.first), *bad.remarks):
        say(remark)
    if not len(data.users):
        why = (
            f"; {bad.count:,} are bad. The first: {bad.first[0]}" if bad.count else ": it has none"
        )
        raise UserError(
            f"{raw.path}: no row can be used{why}. It is read as {raw.how.kind}. See --format, "
            "--sep, --user, --item and --time."
        )
    if options.core < MIN_HISTORY:
        say(
            f"--core {options.core}: users with fewer than {MIN_HISTORY} items are left out too; "
            "leave-one-out needs a test item, a validation item and two more"
        )
    kept = _kept(data, bad, options)
    counts = {
        "rows": {"read": len(data.users) + bad.count, "bad": bad.count}
        | kept.left_out
        | {"kept": len(kept.rows)},
        "raw_users": {"users": len(data.user_names)}
        | kept.users_left_out
        | {"kept": len(kept.user_names) - 1},
        "raw_items": {"items": len(data.item_names)}
        | kept.items_left_out
        | {"kept": len(kept.item_names) - 1},
    }
    for account in counts.values():
        say(_account(account))
    if raw.roles.time and kept.tied > MANY_TIES:
        say(
            f"for {kept.tied:.0%} of the users the test item has the same time as the item before "
            "it; only their order in the file then says which is the last"
        )
    return kept, counts


def _kept(data: Interactions, bad: BadLines, options: Options) -> Kept:
    """``keep``; where nothing is left because most rows are bad, the error says why they are."""
    numbers = rng(options.seed, Stream.PREPARE_NUMBERS)
    try:
        return keep(data, options.min_rating, options.core, options.numbering, numbers)
    except UserError as error:
        if bad.count <= len(data.users):
            raise
        raise UserError(
            f"{bad.first[0]}. {bad.count:,} of the {len(data.users) + bad.count:,} rows are bad. "
            f"Of the others: {error}"
        ) from error


def _text_role(raw: RawFile, options: Options) -> str | None:
    """The role that explanations are made of; None where none are wanted or the file has none."""
    role = {"sentence": "text", "summary": "title"}.get(options.explanation)
    return role if role and getattr(raw.roles, role) else None


def _write_titles(
    titles: TitleFile | None, kept: Kept, folder: Path, options: Options
) -> dict[str, int]:
    """``items.json``, where titles are asked for. Returns how many items have one; {} without."""
    if titles is None:
        return {}
    found = read_titles(titles, kept.item_names, options.strict)
    write_text(folder / ITEMS_FILE, items_json(found.of_item))
    return found.counts


def _explain(
    raw: RawFile, kept: Kept, folder: Path, options: Options, crew: Crew
) -> dict[str, int]:
    """The passes over the texts. Returns where each pair went; {} where there are no texts."""
    role = _text_role(raw, options)
    if role is None:
        reason = "--explanation none" if options.explanation == "none" else "there are no texts"
        say(f"no explanation.json ({reason}); train with --tasks sequential,direct")
        return {}
    silent = BadLines(raw.path, False)  # the first pass has reported them
    rated = options.explain_from_rating is not None
    counts = explain_pairs(
        lambda title: _shown(raw, silent, title, options.min_rating is not None, role, rated),
        kept,
        Wanted(options.explanation, options.language, options.explain_from_rating),
        folder / "explanation.json",
        rng(options.seed, Stream.PREPARE_EXPLANATIONS),
        crew,
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
    raw: RawFile,
    bad: BadLines,
    title: str,
    rating: bool,
    text: str | None = None,
    rated: bool = False,
) -> Iterator[Rows]:
    """``read_rows`` with a progress bar."""
    with progress(100, title, "%") as bar:
        yield from read_rows(
            raw, bad, lambda part: bar.update(int(100 * part) - bar.n), rating, text, rated
        )


def _account(counts: dict[str, int]) -> str:
    """``{"read": 9, "bad": 2, "kept": 7}`` -> "9 read = 2 bad + 7 kept"; the sum holds."""
    (whole, total), *parts = counts.items()
    return f"{total:,} {whole} = " + " + ".join(f"{n:,} {name}" for name, n in parts)
