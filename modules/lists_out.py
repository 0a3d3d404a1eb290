"""Lists of many people, written to a file that other tools read: ``recommend.py --out``.

People are ranked and written a part at a time, so that memory does not grow with their number, and
a part that is written is kept (utils/growing_files.py).
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modules import list_files
from modules.data.dataset import RecDataset
from modules.list_files import Row
from modules.model.config import CONFIG_FILE
from modules.model.weights import WEIGHTS_FILE
from modules.people import NEWCOMER, Person
from modules.recommend import Answer, Lists, as_json
from utils.console import progress
from utils.files import sha256
from utils.growing_files import GrowingFile, growing
from utils.provenance import VERSION
from utils.runtime import StopSignals

# People who are ranked together. It is not the batch size, which may be another when a run goes on.
PART = 512


class Written(NamedTuple):
    """What one run has written."""

    before: int  # people in the file when it began
    now: int  # when it ended
    seconds: float
    stopped: int  # the number of the signal that asked it to stop; 0: the file is whole


def write_lists(
    path: Path, people: Sequence[Person], lists: Lists, held_out: int, overwrite: bool
) -> Written:
    """Write the lists of people to a file; go on where an earlier run was stopped.

    Args:
        path: its ending says the format: ``list_files.ENDINGS``.
        lists: how they are made.
        held_out: as in ``people``.
        overwrite: a whole file of ours may be replaced.

    Raises:
        UserError: where the file is not ours to write, or cannot be written; where the earlier
            run was asked for something else.
    """
    asked = _asked(path.suffix, people, lists, held_out)
    with StopSignals() as signals, growing(path, asked, overwrite) as file:
        before, start = file.done, time.perf_counter()
        write = _writer(lists.run.dataset, path.suffix, lists.explained > 0)
        fill(file, people, lists.of, write, signals.asked)
        if file.done == len(people):
            file.finish(list_files.converter(path.suffix, lists.explained > 0))
        stopped = signals.number if file.done < len(people) else 0
        return Written(before, file.done, time.perf_counter() - start, stopped)


def fill(
    file: GrowingFile,
    people: Sequence[Person],
    answers_of: Callable[[Sequence[Person]], Sequence[Answer]],
    as_bytes: Callable[[Sequence[Answer], bool], bytes],
    stop_asked: Callable[[], bool],
) -> None:
    """Write the answers of all people who are not in the file yet, part by part.

    Args:
        as_bytes: some answers as they stand in the file; True: the file begins with them.
        stop_asked: asked after each part.
    """
    with progress(len(people), "lists", "user", done=file.done) as bar:
        while file.done < len(people) and not stop_asked():
            part = people[file.done : file.done + PART]
            file.append(as_bytes(answers_of(part), file.done == 0), file.done + len(part))
            bar.update(len(part))


def _writer(
    dataset: RecDataset, ending: str, reasons: bool
) -> Callable[[Sequence[Answer], bool], bytes]:
    def as_bytes(answers: Sequence[Answer], first: bool) -> bytes:
        if ending == ".jsonl":
            return "".join(as_json(dataset, answer) + "\n" for answer in answers).encode()
        rows = [row for answer in answers for row in rows_of(dataset, answer)]
        head = list_files.head(ending, reasons) if first else b""
        return head + list_files.lines(ending, rows, reasons)

    return as_bytes


def rows_of(dataset: RecDataset, answer: Answer) -> Iterator[Row]:
    """A row for each item of an answer."""
    user = None if answer.person.user == NEWCOMER else answer.person.name
    for place, (item, chance) in enumerate(zip(answer.items, answer.probabilities)):
        title = dataset.titles[item] or None if dataset.titles else None
        reason = answer.texts[place] if place < len(answer.texts) else None
        yield Row(user, place + 1, dataset.item_names[item], title, chance, reason)


def _asked(ending: str, people: Sequence[Person], lists: Lists, held_out: int) -> dict[str, Any]:
    """All that the content of the file depends on, by names for people to read. The batch size and
    the device are not among it: with them the last digits may change, no more."""
    run, digest = lists.run, hashlib.sha256()
    for person in people:
        digest.update(b"%d %d\n" % (person.user, len(person.history)))
        digest.update(person.history.astype("<i4").tobytes())
    titles = "\n".join(run.dataset.titles or ())
    return {
        "program": VERSION,
        "format": ending,
        "--top_n": lists.top_n,
        "--explain": lists.explained,
        "--keep_seen": lists.keep_seen,
        "--held_out": held_out,
        "--precision": run.machine.precision,
        "run": run.record.run_id,
        "model": {name: sha256(run.folder / name) for name in (CONFIG_FILE, WEIGHTS_FILE)},
        "data": dict(run.dataset.fingerprints),
        "titles": hashlib.sha256(titles.encode()).hexdigest(),
        "users": {"number": len(people), "sha256": digest.hexdigest()},
    }
