"""The house: a package imports only from floors below its own. The floors are in docs/code.md."""

import ast
import re
from pathlib import Path

from tests.conftest import ROOT


def floors() -> dict[str, int]:
    """Package -> its floor, 0 at the ground: the numbered list of docs/code.md."""
    text = (ROOT / "docs" / "code.md").read_text().split("## Floors", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\d+\. (.*)$", text, flags=re.MULTILINE)
    return {name: n for n, row in enumerate(rows) for name in re.findall(r"`([\w/]+?)/?`", row)}


def imports() -> dict[str, set[str]]:
    """Module -> the modules and names that it imports, wherever in its file."""
    found = {}
    for path in (path for top in ("modules", "utils") for path in Path(ROOT, top).rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        found[".".join(path.relative_to(ROOT).with_suffix("").parts)] = names
    return found


def package(dotted: str, known: dict[str, int]) -> str | None:
    """The package, or the file on a floor of its own, that a dotted name belongs to."""
    parts = dotted.split(".")[:2] if dotted.startswith("modules.") else dotted.split(".")[:1]
    name = "/".join(parts)
    return name if name in known else None


def test_no_import_points_up_or_sideways():
    known = floors()
    assert len(known) > 12
    own = {module: package(module, known) for module in imports()}
    wrong = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in names
        for other in [package(name, known)]
        if other not in (None, own[module])
        and (own[module] is None or known[other] >= known[own[module]])
    ]
    assert not wrong
    assert set(own.values()) - {None} == set(known)  # no file is outside of the house


def test_no_import_runs_in_a_circle():
    found = imports()
    left = {module: names & found.keys() for module, names in found.items()}
    while free := {module for module, names in left.items() if not names & left.keys()}:
        left = {module: names for module, names in left.items() if module not in free}
    assert not left
