"""``--help`` and a refused command line answer at once: torch and transformers take seconds to
import, and are not imported for them."""

import pytest

from tests.conftest import process

SCRIPTS = ["pretrain", "seq_reranker", "topn", "direct", "exp", "recommend", "prepare", "compare"]
MODULES = ["data.audit", "preparation.download", "released.import_checkpoint"]
REFUSED = [
    "pretrain {data} --lr -1",
    "pretrain {data} --shard --graph_every 2",
    "pretrain nowhere",
    "pretrain {data} --checkpoint README.md",
    "pretrain {data} --checkpoint {empty} --resume",
    "seq_reranker {data} --decode beam --num_beams 5",
    "seq_reranker {data} --decode beam --linear 0.5",
    "topn {data} --checkpoint {empty}",
    "topn nowhere",
    "exp {data} --num_beams 20 --num_beam_groups 3",
    "exp {data} --checkpoint nowhere",
    "recommend {data} --user 1 --checkpoint nowhere",
    "recommend {data} --users_file nowhere",
    "compare baselines nowhere",
    "modules.released.import_checkpoint nowhere --data_dir {data} --out {empty}",
]
PROGRAM = """
import atexit, runpy, sys
atexit.register(lambda: print({"torch", "transformers"} & set(sys.modules)))
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("name", SCRIPTS + [f"modules.{name}" for name in MODULES])
def test_help(name):
    done = process("-c", PROGRAM, name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize("line", REFUSED)
def test_refusal(line, folder, tmp_path):
    done = process("-c", PROGRAM, *line.format(data=folder, empty=tmp_path).split())
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr
    assert done.stdout == "set()\n"
