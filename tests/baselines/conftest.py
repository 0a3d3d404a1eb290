"""Data folders of histories that a test makes up."""

import json
from pathlib import Path

from modules.data.dataset import RecDataset
from modules.data.reader import load_dataset


def data_of(folder: Path, histories: list[list[int]]) -> RecDataset:
    """The data set of some histories; the catalogue ends with the largest item."""
    folder.mkdir()
    rows = [f"{user} {' '.join(map(str, row))}\n" for user, row in enumerate(histories, start=1)]
    (folder / "sequential.txt").write_text("".join(rows))
    names = {
        "id2user": {str(user): f"U{user}" for user in range(1, len(histories) + 1)},
        "id2item": {str(item): f"I{item}" for item in range(1, max(map(max, histories)) + 1)},
    }
    (folder / "datamaps.json").write_text(json.dumps(names))
    return load_dataset(folder)
