"""Pace and peak memory of prepare.py on made-up reviews and interactions.

    python -m benchmarks.prepare --reviews 100000,2000000 --rows 1000000

Each file is prepared twice, each time in a process of its own: as prepare.py does, and line by
line and text by text, which is what says what is right. The bytes of both must be equal. Memory is
that of the process that reads; each that is given texts has some of its own.

The reviews are like Amazon's: ten per user, popular items, a few sentences with words as rare as in
English, gzipped JSON lines. All files are written to a temporary folder. Needs
requirements-data.txt.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak_memory_gb
from modules.data.demo import made_up_sentence
from modules.preparation import clock, json_lines, language, tables
from modules.preparation.crew import cores
from modules.preparation.folder import Options, prepare_folder
from modules.preparation.rows import open_raw
from utils.files import sha256

PER_USER = 10
SENTENCES = 20_000  # in all; each review has some of them
WORDS = 30_000  # in all, without those of the demo set
PER_SENTENCE = 12  # words of a sentence, on average
PER_REVIEW = 6  # sentences of a review, on average


def make_reviews(path: Path, n_reviews: int, seed: int = 0) -> None:
    """A gzipped dump in the format of 2014, in random order of users."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(3, 10))) for _ in range(WORDS)]
    pool = [made_up_sentence(rng) + "." for _ in range(SENTENCES // 10)]
    while len(pool) < SENTENCES:
        # The word of rank r has a frequency of about 1/r, as in a language.
        ranks = (WORDS ** rng.random(rng.poisson(PER_SENTENCE) + 1)).astype(int) - 1
        pool.append(" ".join(words[r] for r in ranks).capitalize() + ".")
    n_users, n_items = n_reviews // PER_USER, max(n_reviews // 40, 200)
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        for start in range(0, n_reviews, 100_000):
            n = min(100_000, n_reviews - start)
            users = rng.integers(n_users, size=n).tolist()
            items = (n_items * rng.random(n) ** 2).astype(int).tolist()
            times = rng.integers(1_000_000_000, 1_400_000_000, size=n).tolist()
            lengths = rng.poisson(PER_REVIEW, size=n)
            chosen = rng.integers(SENTENCES, size=int(lengths.sum())).tolist()
            ends = np.cumsum(lengths).tolist()
            for k in range(n):
                text = " ".join(pool[s] for s in chosen[ends[k] - lengths[k] : ends[k]])
                row = {"reviewerID": f"A{users[k]:013d}", "asin": f"B{items[k]:09d}"}
                row |= {"overall": 5.0, "reviewText": text, "summary": "Five Stars"}
                file.write(json.dumps(row | {"unixReviewTime": times[k]}) + "\n")


def make_rows(path: Path, n_rows: int, seed: int = 0) -> None:
    """Interactions, ten per user: JSON lines, or a table with numbers or dates (``*dates*``)."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(n_rows // PER_USER, size=n_rows), rng.random(n_rows) ** 2
    items = (max(n_rows // 40, 200) * items).astype(int)
    times = rng.integers(1_000_000_000, 1_400_000_000, size=n_rows)
    shown = times.astype("datetime64[s]") if "dates" in path.name else times
    rows = zip(users.tolist(), items.tolist(), shown.astype(str).tolist())
    with gzip.open(path, "wt", compresslevel=1) if path.suffix == ".gz" else path.open("w") as file:
        if ".json" in path.name:
            file.writelines(
                f'{{"user_id": "U{u}", "item_id": "I{i}", "rating": 5.0, "timestamp": {t}}}\n'
                for u, i, t in rows
            )
        else:
            file.write("user_id,item_id,rating,timestamp\n")
            file.writelines(f"{u},{i},5.0,{t}\n" for u, i, t in rows)


def slowly() -> None:
    """From here on this process reads line by line, and tells languages text by text."""
    json_lines.plain = lambda lines: None
    tables.plain_rows = lambda *_: None
    clock.plain_dates = lambda values: None
    language._model = lambda: None


def preparing(raw: str, out: str, options: Options, processes: int) -> dict[str, Any]:
    """Prepare a data folder. processes: 0: slowly, in one."""
    if not processes:
        slowly()
    started, cpu = time.perf_counter(), sum(os.times()[:4])
    prepare_folder(open_raw(raw, None, None, {}), Path(out), options, {}, None, processes or 1)
    seconds, cpu = time.perf_counter() - started, sum(os.times()[:4]) - cpu
    return {"seconds": seconds, "CPU s": cpu, "GB": peak_memory_gb()}


def both_ways(raw: Path, n: int, options: Options) -> dict[str, Any]:
    """A row of the table; the file is removed."""
    found = {}
    for way, processes in (("fast", cores()), ("slow", 0)):
        out = raw.with_name(f"{raw.name}-{way}")
        with ProcessPoolExecutor(1, get_context("spawn")) as own:
            work = own.submit(preparing, str(raw), str(out), options, processes)
            found[way] = work.result()
    fast, slow = found["fast"], found["slow"]
    names = sorted(path.name for path in out.iterdir())
    same = names == sorted(path.name for path in raw.with_name(f"{raw.name}-fast").iterdir())
    same = same and all(
        sha256(raw.with_name(f"{raw.name}-{way}") / name) == sha256(out / name)
        for way in found
        for name in names
    )
    raw.unlink()
    return {
        "file": raw.name,
        "rows": n,
        "rows/s": n / fast["seconds"],
        "rows/s, slow": n / slow["seconds"],
        "times as fast": slow["seconds"] / fast["seconds"],
        "CPU s": fast["CPU s"],
        "CPU s, slow": slow["CPU s"],
        "GB": fast["GB"],
        "GB, slow": slow["GB"],
        "same bytes": same,
    }


def main() -> None:
    """Measure each size; print the table."""
    # This imports torch, which no measured process needs.
    from benchmarks.measure import features, print_table

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reviews", default="100000,2000000", help="numbers of reviews, by commas")
    parser.add_argument("--rows", default="1000000", help="numbers of interactions, by commas")
    args = parser.parse_args()
    print(features())
    options = Options(
        core=5,
        min_rating=None,
        numbering="random",
        negative_num=99,
        explanation="sentence",
        strict=False,
        seed=0,
    )
    made = [("reviews.json.gz", make_reviews, n) for n in args.reviews.split(",") if n]
    for name in ("rows.csv", "dates.csv", "rows.csv.gz", "rows.json"):
        made += [(name, make_rows, n) for n in args.rows.split(",") if n]
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for name, make, n in made:
            raw = Path(root) / f"{n}-{name}"
            make(raw, int(n))
            rows.append(both_ways(raw, int(n), options))
    print_table("Preparing a data folder", list(rows[0]), [list(row.values()) for row in rows])


if __name__ == "__main__":
    main()
