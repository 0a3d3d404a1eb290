"""docs/extending.md: each worked example, as it is printed, runs and is known everywhere."""

import json
import re
import shlex

import pytest

from tests.conftest import ROOT, process

PAGE = (ROOT / "docs" / "extending.md").read_text()
# (title, code, command) of each section with an example.
EXAMPLES = re.findall(
    r"^## (.+?)$.*?^```python\n(.*?)^```.*?^    python (.+?)$", PAGE, flags=re.MULTILINE | re.DOTALL
)
RUN = "import runpy, sys\nsys.argv = {argv!r}\nrunpy.run_path({script!r}, run_name='__main__')\n"


@pytest.mark.parametrize(("title", "code", "command"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_example(title, code, command, tmp_path):
    argv = [*shlex.split(command), "--checkpoint", str(tmp_path / "run")]
    program = code + RUN.format(argv=argv, script=str(ROOT / argv[0]))
    done = process("-c", program)
    assert done.returncode == 0, done.stderr[-2000:]
    if argv[0] == "pretrain.py":
        record = json.loads((tmp_path / "run" / "run.json").read_text())["arguments"]
        added = {"A method": "method", "A built-in backbone": "backbone"}
        name = added.get(title, "propagation")
        assert record[name] in code
        assert (tmp_path / "run" / "model.safetensors").is_file()
    else:
        (folder,) = (tmp_path / "run").iterdir()
        page = (folder / "report.html").read_text()
        result = json.loads((folder / "sequential.json").read_text())
        assert ("MRR@5" in result["metrics"]) == ("MRR@5" in page) == ("metric" in title)
        assert ("also had" in page) == ("baseline" in title)


def test_every_table_of_the_page_has_an_example():
    titles = {title for title, _, _ in EXAMPLES}
    rows = re.findall(r"^\| (an? [^|]+?) \|", PAGE, flags=re.MULTILINE)
    assert {row.capitalize() for row in rows} == titles | {"A task"}
