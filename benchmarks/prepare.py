"""Time and peak memory of prepare.py on made-up reviews.

    python -m benchmarks.prepare --reviews 100000,2000000

The reviews are like Amazon's: ten per user, popular items, a few sentences with words as rare as
in English, gzipped JSON lines. They are written to a temporary folder. Each preparation runs in its
own process. Needs requirements-data.txt.
"""

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import print_table
from benchmarks.scale_parts import in_own_process
from modules.data.demo import made_up_sentence
from modules.preparation.folder import Options, prepare_folder
from modules.preparation.rows import open_raw

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


def preparing(raw: str, out: str, options: Options) -> dict[str, Any]:
    """Prepare a data folder; returns a row of the table."""
    started = time.perf_counter()
    stats = prepare_folder(open_raw(raw, None, None, {}), Path(out), options, {})
    seconds = time.perf_counter() - started
    names = ("users", "items", "interactions", "explanation_coverage")
    return {name: stats[name] for name in names} | {"minutes": seconds / 60}


def main() -> None:
    """Measure each size; print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reviews", default="100000,2000000", help="numbers of reviews, by commas")
    args = parser.parse_args()
    options = Options(
        core=5,
        min_rating=None,
        numbering="random",
        negative_num=99,
        explanation="sentence",
        strict=False,
        seed=0,
    )
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for n_reviews in map(int, args.reviews.split(",")):
            raw, out = Path(root) / f"reviews-{n_reviews}.json.gz", Path(root) / f"out-{n_reviews}"
            make_reviews(raw, n_reviews)
            size = raw.stat().st_size / 2**30
            row = in_own_process(preparing, str(raw), str(out), options)
            rows.append({"reviews": n_reviews, "raw GB": size} | row)
            raw.unlink()
    print_table("Preparing a data folder", list(rows[0]), [list(row.values()) for row in rows])


if __name__ == "__main__":
    main()
