"""docs/recommender.ipynb: its cells run from top to bottom, where Jupyter starts."""

import json
import subprocess
import sys
import tempfile

from tests.conftest import ROOT, script

NOTEBOOK = json.loads((ROOT / "docs" / "recommender.ipynb").read_text())


def test_every_cell_runs(tmp_path, monkeypatch, capsys):
    in_new_process = subprocess.run

    def run(command, **how):
        """A script in this process, which has PyTorch imported."""
        if command[0] != sys.executable:
            return in_new_process(command, **how)
        assert how == {"check": True}
        done = script(*command[1:])
        assert done.returncode == 0, done.stderr
        return ran.append(command[1])

    ran, names = [], {"__name__": "__main__"}
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(ROOT / "docs")
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert ran == ["pretrain.py"]
    said = capsys.readouterr().out
    assert "400 users, 120 items; trained on" in said
    assert len([line for line in said.splitlines() if line.startswith("0.")]) == 8


def test_it_is_a_notebook_without_outputs():
    cells = NOTEBOOK["cells"]
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        kind = {"markdown": set(), "code": {"execution_count", "outputs"}}[cell["cell_type"]]
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | kind
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
