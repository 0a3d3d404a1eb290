"""Numbers for names: by pyarrow as by a dictionary."""

import numpy as np
import pytest

from modules.preparation import codes
from modules.preparation.codes import Codes


def numbered(parts: list[list[str]]) -> tuple[list[int], list[str]]:
    """As the definition has it."""
    names = [name for part in parts for name in part]
    known = list(dict.fromkeys(names))
    return [known.index(name) for name in names], known


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("many", [0, 50, 10**9])
def test_numbers_are_in_the_order_of_the_first_places(monkeypatch, installed, many) -> None:
    if installed:
        pytest.importorskip("pyarrow")
    else:
        monkeypatch.setattr(codes, "find_spec", lambda name: None)
    monkeypatch.setattr(codes, "_MANY", many)
    monkeypatch.setattr(codes, "_WAITING", 3)
    rng = np.random.default_rng(0)
    letters = ["", "ü", "user", "a b", "日本", "\U0001f600"]
    parts = [
        [f"{letters[k % len(letters)]}{k}" for k in rng.integers(60, size=n).tolist()]
        for n in (7, 0, 40, 1, 30, 30, 30, 5)
    ]
    found = Codes()
    for part in parts:
        found.add(part)
    numbers, names = found.result()
    assert numbers.dtype == np.int32
    assert (numbers.tolist(), names) == numbered(parts)


def test_no_names() -> None:
    numbers, names = Codes().result()
    assert len(numbers) == 0
    assert names == []
