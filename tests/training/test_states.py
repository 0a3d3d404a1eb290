"""state.json with anything changed: noticed, whatever it is, and told in one message."""

import json
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modules.runs.record import read_record
from modules.training.claim import saved_states
from modules.training.states import _checksum, check_state
from tests.conftest import TINY, script
from tests.conftest import write_folder as write_data
from tests.fuzz import changes, examples
from tests.reports.test_hostile_fuzz import VALUES, apply
from utils.errors import UserError

EXAMPLES = examples(150)
RUN = [
    *TINY,
    "--max_steps",
    2,
]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of two steps."""
    base = tmp_path_factory.mktemp("states")
    done = script("pretrain.py", write_data(base / "few"), *RUN, "--checkpoint", base / "run")
    assert done.returncode == 0, done.stderr
    return base / "run"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(made=changes(VALUES))
def test_whatever_is_changed_is_noticed(run, made) -> None:
    state, run_id = saved_states(run)[-1], read_record(run).run_id
    text = (state / "state.json").read_text()
    try:
        changed = json.dumps(apply(json.loads(text), made))
    except ValueError:  # no JSON can be made of it
        return
    (state / "state.json").write_bytes(changed.encode("utf-8", "surrogatepass"))
    started = time.process_time()
    try:
        found = check_state(state, run_id)
        assert found == json.loads(text)["values"]  # what was added is not read
    except UserError:
        pass
    finally:
        (state / "state.json").write_text(text)
    assert time.process_time() - started < 10  # a guard against a hang


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=200))
@example(b"")
@example(b"[" * 10**5)
@example(b'{"values": ' * 10**4)
def test_any_bytes(tmp_path_factory, content) -> None:
    state = tmp_path_factory.getbasetemp() / "step-00000001"
    state.mkdir(exist_ok=True)
    (state / "state.json").write_bytes(content)
    with pytest.raises(UserError, match=r"state\.json"):
        check_state(state, "")


def stamp(state: Path, change) -> None:
    """Change the values and renew the checksum, as one who knows the code could."""
    path = state / "state.json"
    record = json.loads(path.read_text())
    change(record["values"])
    record["values_sha256"] = _checksum(record["values"])
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["samplers"].clear(),
        lambda v: v["samplers"]["direct"].clear(),
        lambda v: v["samplers"]["direct"].update(rng={}),
        lambda v: v["samplers"]["direct"]["rng"].update(bit_generator="None"),
        lambda v: v["samplers"]["direct"]["rng"]["state"].update(state="x"),
        lambda v: v.update(processes=2),
        lambda v: v.update(processes=10**30),
        lambda v: v.update(best="x"),
        lambda v: v.update(nth=-5),
        lambda v: v.pop("skipped"),
    ],
)
def test_values_that_were_never_right(change, run, tmp_path) -> None:
    shutil.copytree(run, tmp_path / "run")
    for state in saved_states(tmp_path / "run"):
        stamp(state, change)
    command = ["pretrain.py", run.parent / "few", *RUN, "--checkpoint", tmp_path / "run"]
    done = script(*command, "--resume")
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: --resume: ")
    assert "Traceback" not in done.stderr
