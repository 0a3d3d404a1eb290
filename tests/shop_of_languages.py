"""The made-up shop of modules/data/shop.py with customers of three languages, its rows in no order.

    python -m tests.shop_of_languages --out shop.csv --seed 0

A customer writes all reviews in one language, as ``language`` says. Times are ISO dates, and alone
say which purchase came before which.
"""

import argparse
import csv
import io
import random
from pathlib import Path

from modules.data.demo import GROUPS
from modules.data.shop import COLUMNS, USERS, shop_csv

LANGUAGES = ("en", "de", "fr")
# What the shop sells, in the order of GROUPS.
NOUNS = {
    "de": "der Tee,die Lampe,der Stiefel,die Seife,das Messer,der Roman,die Trommel,die Pflanze",
    "fr": "le thé,la lampe,la botte,le savon,le couteau,le roman,le tambour,la plante",
}
FORMS = {
    "de": (
        "Ich finde, {} ist wirklich sehr schön und für den Preis mehr als gut.",
        "Schnelle Lieferung, und {} gefällt meiner ganzen Familie ausgezeichnet.",
        "Leider nicht das, was ich erwartet habe, aber {} hält schon seit über einem Jahr.",
    ),
    "fr": (
        "Je trouve que {} est vraiment très bien et je suis contente de mon achat.",
        "La livraison était rapide et {} plaît beaucoup à toute ma famille.",
        "Ce n'est pas ce que j'attendais, mais {} dure déjà depuis plus d'un an.",
    ),
}


def language(user: str) -> str:
    """In which a customer writes: C1 English, C2 German, C3 French, C4 English, ..."""
    return LANGUAGES[(int(user.removeprefix("C")) - 1) % len(LANGUAGES)]


def shop_of_languages(seed: int, users: int = USERS) -> str:
    """The file, of the shop's first customers; the same seed is the same file."""
    rng = random.Random(seed)
    kinds = list(GROUPS)
    rows = []
    for row in csv.DictReader(io.StringIO(shop_csv(seed))):
        if int(row["user_id"].removeprefix("C")) > users:
            continue
        tongue = language(row["user_id"])
        if tongue in FORMS:
            kind = kinds.index(row["title"].split()[1])
            row["review"] = rng.choice(FORMS[tongue]).format(NOUNS[tongue].split(",")[kind])
        rows.append(row)
    rng.shuffle(rows)
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another shop")
    parser.add_argument("--users", type=int, default=USERS, help="customers")
    args = parser.parse_args()
    args.out.write_text(shop_of_languages(args.seed, args.users), encoding="utf-8")


if __name__ == "__main__":
    main()
