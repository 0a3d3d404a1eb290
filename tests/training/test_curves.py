"""Curves against train_log.jsonl: event files, read back by TensorBoard's own reader; and what a
stand-in for the package wandb was given, which does with it what that package's manual says."""

import inspect
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pretrain
from modules.training.curves import Curves, EventFiles, series
from modules.training.settings import Settings
from tests.conftest import write_folder
from utils.errors import UserError

# A state at every step, so that a run can be taken back to the one before its last.
RUN = "--preset readme --backbone tiny --batch_size 2 --negative_num 5 --log_interval 1"
RUN += " --save_minutes 0.00001"


def train(monkeypatch, data, run, *flags):
    monkeypatch.setattr(
        sys, "argv", ["pretrain.py", *map(str, (data, *RUN.split(), "--checkpoint", run, *flags))]
    )
    pretrain.main()


def curves(folder):
    """name -> [(step, value)], of all event files of a folder."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def logged(run):
    """The same, of train_log.jsonl."""
    found = {}
    for text in (run / "train_log.jsonl").read_text().splitlines():
        line = json.loads(text)
        values = {f"train/{task}": loss for task, loss in line.get("train", {}).items()}
        values |= {f"valid/{task}": loss for task, loss in line.get("valid", {}).items()}
        values |= {key: line[key] for key in ("learning_rate", "samples_per_second") if key in line}
        if "valid_mean" in line:
            values["valid/mean"] = line["valid_mean"]
        for name, value in values.items():
            found.setdefault(name, []).append((line["step"], pytest.approx(value, rel=1e-6)))
    return found


def test_a_run_and_one_that_goes_on(tmp_path, monkeypatch):
    data, run = write_folder(tmp_path / "few"), tmp_path / "run"
    train(monkeypatch, data, run, "--max_steps", "6", "--tensorboard", "--lr", "0.003")
    first = curves(run / "tensorboard")
    tasks = ("explanation", "sequential", "direct")
    names = {f"{kind}/{task}" for kind in ("train", "valid") for task in tasks}
    assert first.keys() == names | {"valid/mean", "learning_rate", "samples_per_second"}
    assert first == logged(run)
    assert first["learning_rate"] == [(step, pytest.approx(0.003)) for step in range(1, 7)]

    # Back to step 5: the points of step 6 are made again, and stand once.
    more = ("--tensorboard", "--lr", "0.003", "--resume", "5")
    train(monkeypatch, data, run, "--max_steps", "9", *more)
    second = curves(run / "tensorboard")
    assert second == logged(run)
    assert [step for step, _ in second["learning_rate"]] == list(range(1, 10))
    assert [step for step, _ in second["valid/mean"]] == [s for s, _ in logged(run)["valid/mean"]]
    assert len(list((run / "tensorboard").iterdir())) == 2

    # A run in its place takes its curves away.
    train(monkeypatch, data, run, "--max_steps", "2", "--tensorboard", "--overwrite")
    assert curves(run / "tensorboard") == logged(run)
    assert len(list((run / "tensorboard").iterdir())) == 1


def test_a_folder_of_ones_own_and_an_earlier_run_in_it(tmp_path, run):
    folder = tmp_path / "a" / "b"
    settings = Settings(tensorboard=str(folder), checkpoint=str(tmp_path))
    for value in (1.0, 2.0):
        made = Curves.of(settings, run.record, 0)
        made.write({"step": 3, "epoch": 1, "valid": {"direct": value}, "valid_mean": value})
        assert curves(folder)["valid/direct"] == [(3, value)]  # before the file is ended
        made.close(whole=True)


def test_without_the_flags_nothing_is_imported_or_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not there
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = tmp_path / "run"
    train(monkeypatch, write_folder(tmp_path / "few"), run, "--max_steps", "1")
    assert not (run / "tensorboard").exists()


def test_a_file_in_the_folders_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--tensorboard .*file: no folder"):
        EventFiles(str(tmp_path / "file"), 0)


def test_a_full_disk_ends_the_curves_and_no_training(tmp_path, monkeypatch, capsys):
    events = EventFiles(str(tmp_path / "curves"), 0)

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events._writer, "flush", full)
    made = Curves([events])
    for step in (1, 2):
        made.write({"step": step, "train": {"direct": 0.5}})
    made.close(whole=True)
    said = capsys.readouterr().out
    assert said.count("cannot be written (No space left on device); going on without") == 1


# ---------------------------------------------------------------------------- Weights & Biases

# init, Run.log and Run.finish with the arguments that the package documents. As there, a step
# never falls: what is logged for an earlier one is dropped. A run of the same id is replaced, but
# with resume="allow" it goes on behind its last step. Where a key is of nobody, wandb.Error.
STAND_IN = """
import json, os
from pathlib import Path
from types import SimpleNamespace


class Error(Exception):
    pass


def setup(settings=None):
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    return SimpleNamespace(settings=SimpleNamespace(base_url=server))


class Run:
    def __init__(self, path, given):
        self._path, self.offline = path, given["mode"] == "offline"
        self.url = None if self.offline else "https://wandb.ai/me/" + given["project"]
        old = json.loads(path.read_text()) if path.exists() and given["resume"] else {}
        self._kept = {"rows": [], "inits": [], "ends": []} | old
        self._least = self._kept["rows"][-1][0] + 1 if self._kept["rows"] else 0
        self._kept["inits"].append(given)
        self._write()

    def _write(self):
        self._path.write_text(json.dumps(self._kept))

    def log(self, data, step=None, commit=None):
        rows = self._kept["rows"]
        if step < self._least:
            return
        if not rows or rows[-1][0] < step:
            rows.append([step, {}])
        rows[-1][1].update(data)
        self._least = step
        self._write()

    def finish(self, exit_code=None):
        self._kept["ends"].append(exit_code)
        self._write()


def init(project=None, dir=None, id=None, name=None, config=None, mode=None, resume=None):
    given = dict(locals())
    mode = given["mode"] = mode or os.environ.get("WANDB_MODE") or "online"
    if mode not in ("online", "offline", "disabled"):
        raise ValueError("mode: Input should be 'online', 'offline' or 'disabled'")
    if os.environ.get("WANDB_API_KEY") == "of nobody":
        raise Error("API key verification failed")
    folder = Path(dir) / "wandb" / f"{'offline-' * (mode == 'offline')}run-1-{id}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.wandb").write_text("")
    link = folder.parent / "latest-run"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    return Run(Path(os.environ["CLOUD"]) / f"{id}.json", given)
"""


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """The stand-in in place of wandb; what it holds, by run id, when asked."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "NETRC"))]:
        monkeypatch.delenv(name)
    (tmp_path / "site" / "wandb").mkdir(parents=True)
    (tmp_path / "site" / "wandb" / "__init__.py").write_text(STAND_IN)
    (tmp_path / "cloud").mkdir()
    monkeypatch.setenv("CLOUD", str(tmp_path / "cloud"))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield lambda: {p.stem: json.loads(p.read_text()) for p in (tmp_path / "cloud").iterdir()}
    sys.modules.pop("wandb", None)


def sent(kept):
    """name -> [(step, value)] of what a run of the stand-in was given."""
    found = {}
    for step, points in kept["rows"]:
        for name, value in points.items():
            found.setdefault(name, []).append((step, value))
    return found


def once_a_step(found):
    """As wandb keeps it, where a step was validated twice: at the end of an epoch, and of a run."""
    return {name: list(dict(points).items()) for name, points in found.items()}


def test_one_wandb_run_a_training_and_the_numbers_of_the_log(tmp_path, monkeypatch, cloud, capsys):
    data, run = write_folder(tmp_path / "few"), tmp_path / "run"
    flags = ("--lr", "0.003", "--wandb")
    train(monkeypatch, data, run, "--max_steps", "6", *flags)
    record = json.loads((run / "run.json").read_text())
    said = capsys.readouterr().out
    assert f"--wandb: run {record['run_id']}, offline: nobody is logged in" in said
    ((run_id, kept),) = cloud().items()
    assert run_id == record["run_id"]
    assert sent(kept) == once_a_step(logged(run))
    (given,) = kept["inits"]
    assert (given["project"], given["name"], given["resume"]) == ("elmrec", "run", None)
    assert given["config"].items() >= record["arguments"].items()
    assert given["config"]["dataset"] == "few"
    assert kept["ends"] == [0]

    # Back to step 5, and on: the same run, its points once.
    train(monkeypatch, data, run, "--max_steps", "9", *flags, "mine", "--resume", "5")
    ((again, kept),) = cloud().items()
    assert again == run_id
    assert kept["inits"][1]["resume"] == "allow"
    assert kept["inits"][1]["project"] == "mine"
    found, wanted = sent(kept), once_a_step(logged(run))
    assert found.pop("samples_per_second") != wanted.pop("samples_per_second")  # step 6 was timed
    assert found == wanted

    # Neither the flag nor its project makes it another run; a run in its place replaces it.
    other = run / "wandb" / "offline-run-1-ofsomebody"
    other.mkdir()
    train(monkeypatch, data, run, "--max_steps", "2", "--lr", "0.004", "--wandb", "--overwrite")
    now = json.loads((run / "run.json").read_text())["run_id"]
    assert cloud().keys() == {run_id, now}
    folders = {path.name for path in (run / "wandb").iterdir()}
    assert folders == {f"offline-run-1-{now}", other.name, "latest-run"}
    train(monkeypatch, data, run, "--max_steps", "2", "--lr", "0.004", "--overwrite")
    assert json.loads((run / "run.json").read_text())["run_id"] == now
    assert [path.name for path in (run / "wandb").iterdir()] == [other.name]


@pytest.fixture
def server():
    """A server that knows no page."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    made = HTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


def begun(monkeypatch, tmp_path, run, cloud, **variables):
    """How a run is begun where these variables are set."""
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    made = Curves.of(Settings(wandb="", checkpoint=str(tmp_path / "run")), run.record, 0)
    made.close(whole=False)
    ((_, kept),) = cloud().items()
    assert kept["ends"] == [1]
    return kept["inits"][0]


def test_online_with_a_key_and_an_answer(monkeypatch, tmp_path, run, cloud, server, capsys):
    given = begun(monkeypatch, tmp_path, run, cloud, WANDB_BASE_URL=server, WANDB_API_KEY="k")
    assert given["mode"] == "online"
    assert "https://wandb.ai/me/elmrec: logged in" in capsys.readouterr().out


def test_online_with_what_wandb_login_noted(monkeypatch, tmp_path, run, cloud, server):
    host = server.removeprefix("http://")
    (tmp_path / ".netrc").write_text(f"machine {host} login user password k\n")
    assert begun(monkeypatch, tmp_path, run, cloud, WANDB_BASE_URL=server)["mode"] == "online"


@pytest.mark.parametrize("noted", ["machine example.org login user password k\n", "machine", ""])
def test_offline_without_a_key_of_it(noted, monkeypatch, tmp_path, run, cloud, server):
    (tmp_path / ".netrc").write_text(noted)
    assert begun(monkeypatch, tmp_path, run, cloud, WANDB_BASE_URL=server)["mode"] == "offline"


def test_offline_without_an_answer(monkeypatch, tmp_path, run, cloud, server, capsys):
    nobody = "http://127.0.0.1:9"
    given = begun(monkeypatch, tmp_path, run, cloud, WANDB_BASE_URL=nobody, WANDB_API_KEY="k")
    assert given["mode"] == "offline"
    assert f"{nobody} does not answer" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_what_the_variables_say_is_taken(mode, monkeypatch, tmp_path, run, cloud):
    names = {"WANDB_PROJECT": "p", "WANDB_NAME": "n", "WANDB_DIR": tmp_path / "d"}
    given = begun(monkeypatch, tmp_path, run, cloud, WANDB_MODE=mode, **names)
    assert (given["mode"], given["project"], given["name"]) == (mode, "p", "n")
    assert given["dir"] == str(tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("WANDB_MODE", "on", "Input should be"), ("WANDB_API_KEY", "of nobody", "verification")],
)
def test_a_run_that_is_not_begun(name, value, words, monkeypatch, tmp_path, run, cloud, server):
    monkeypatch.setenv("WANDB_BASE_URL", server)
    with pytest.raises(UserError, match=f"--wandb: .*{words}.*--resume"):
        begun(monkeypatch, tmp_path, run, cloud, **{name: value})


def test_what_fails_later_ends_the_curves_and_no_training(tmp_path, run, cloud, capsys):
    made = Curves.of(Settings(wandb="", checkpoint=str(tmp_path / "run")), run.record, 0)
    (writer,) = made._writers

    def gone(*_, **__):
        raise sys.modules["wandb"].Error("the service has ended")

    writer._run.log = gone
    for step in (1, 2):
        made.write({"step": step, "train": {"direct": 0.5}})
    made.close(whole=True)
    said = capsys.readouterr().out
    assert said.count("--wandb: cannot be written (the service has ended); going on without") == 1


def test_a_folder_called_wandb_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(UserError, match=r"package wandb is missing\. Install it with pip install"):
        Settings(wandb="").resolved()


def test_the_package_takes_what_the_stand_in_takes(cloud):
    stand_in = {name: set(_parameters(name)) for name in ("init", "Run.log", "Run.finish")}
    sys.modules.pop("wandb")
    sys.path.pop(0)
    wandb = pytest.importorskip("wandb")
    assert hasattr(wandb, "Error")
    for name, taken in stand_in.items():
        assert taken <= set(_parameters(name)), name


def _parameters(name):
    import wandb

    place = wandb
    for part in name.split("."):
        place = getattr(place, part)
    return inspect.signature(place).parameters


def test_every_number_of_a_line_has_a_curve():
    line = {"step": 1, "epoch": 1, "valid": {"direct": 2.0}, "valid_mean": 2.0, "improved": True}
    line["metrics"] = {"sequential HR@10": 0.5}
    assert series(line) == {"valid/direct": 2.0, "valid/mean": 2.0, "valid/sequential HR@10": 0.5}
    assert series({"step": 2, "train": {"direct": 1.0}}) == {"train/direct": 1.0}
