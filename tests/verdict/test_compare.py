"""The verdict after training: figures by hand, the sentence, and the file in the run's folder."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from modules.baselines.quick import quick_ranks
from modules.data.dataset import HeldOut
from modules.evaluation.seen import DROP
from modules.runs.kinds import LogLine
from modules.runs.record import read_record
from modules.runs.run import open_run
from modules.runs.verdict import read_verdict
from modules.verdict import compare
from modules.verdict.compare import Answers, judge, write_verdict
from tests.conftest import script, write_folder
from tests.pages import Page
from tests.reports.hostile import CPU
from utils.errors import UserError
from utils.metrics.ranking import NOT_RANKED

SMALL = ["--backbone", "tiny", "--batch_size", 2, "--negative_num", 5, "--max_steps", 2]
LOG = [
    LogLine(step=5, valid={"sequential": 3.0}, improved=True),
    LogLine(step=9, valid={"sequential": 3.1}),
]


@pytest.fixture
def titled(run):
    """The run, of a record that names its method."""
    arguments = run.record.arguments | {"method": "elmrec", "warmup": 0}
    return replace(run, record=replace(run.record, arguments=arguments))


def answers(dataset, place, texts=()):
    """Lists of all users that hold the validation item at a place; None: not at all."""
    users = dataset.users
    targets = dataset.targets(users, HeldOut.VALIDATION)
    lists = np.array([[i for i in range(1, 13) if i != t][:10] for t in targets])
    if place is not None:
        lists[:, place] = targets
    return Answers(users, DROP, lists, list(texts))


def test_the_simple_models_rank_by_hand(dataset):
    """Train: 3 1 4; 1 2; 7 8 9 1; 12 11. Users by item: 1 has three, all others one or none.
    Validation items 2, 3, 2, 10: each user's place among what they never had."""
    ranks = quick_ranks(dataset, dataset.users, DROP, 0)
    assert set(ranks) == {"popularity", "item-kNN", "EASE"}
    counts = np.bincount([3, 1, 4, 1, 2, 7, 8, 9, 1, 12, 11], minlength=13)
    for user, (had, target) in enumerate([({3, 1, 4}, 2), ({1, 2}, 3), ({7, 8, 9, 1}, 2)]):
        left = [item for item in range(1, 13) if item not in had]
        ahead = sum(counts[item] > counts[target] for item in left)
        ties = sum(counts[item] == counts[target] for item in left) - 1
        assert ahead <= ranks["popularity"][user] <= ahead + ties
    # Who had 1 with something had 3, 4, 2, 7, 8, 9: of user 2's two items, 1 alone leads to 3.
    assert ranks["item-kNN"][1] < 5
    some = quick_ranks(dataset, np.array([2, 4]), DROP, 0)
    assert some["popularity"].tolist() == ranks["popularity"][[1, 3]].tolist()


def test_large_catalogues_are_compared_without_ease(dataset, monkeypatch):
    monkeypatch.setattr("modules.baselines.quick.MOST_EASE_ITEMS", 11)
    assert set(quick_ranks(dataset, dataset.users, DROP, 0)) == {"popularity", "item-kNN"}


def with_simple(monkeypatch, ranks):
    """Have the simple models rank so."""
    found = {title: np.array(own) for title, own in ranks.items()}
    monkeypatch.setattr(compare, "quick_ranks", lambda *_: found)


def test_figures_and_sentence_by_hand(titled, monkeypatch):
    none = [NOT_RANKED] * 4
    with_simple(monkeypatch, {"popularity": none, "item-kNN": [2, 2, NOT_RANKED, 30]})
    found = judge(titled, answers(titled.dataset, 0), LOG)
    assert [one.title for one in found.simple] == ["item-kNN", "popularity"]  # best first
    assert (found.model.hr, found.model.ndcg) == (1.0, 1.0)
    assert found.simple[0].ndcg == pytest.approx(2 / math.log2(4) / 4)
    assert found.hr.mean == pytest.approx(0.5)
    assert found.ndcg.mean == pytest.approx(0.75)
    assert 0 < found.ndcg.low <= 0.75 <= found.ndcg.high <= 1
    assert found.sentence.startswith(
        "this model ranks better than item-kNN, the best simple one: NDCG@10 1.0000 against "
        ".2500, +.7500 (+."
    )
    assert not found.improving
    assert not found.warnings


def test_a_model_below_the_simple_ones(titled, monkeypatch):
    with_simple(monkeypatch, {"EASE": [0, 0, 0, 0], "popularity": [9, 9, 9, 9]})
    found = judge(titled, answers(titled.dataset, None), LOG)
    assert found.sentence == (
        "EASE ranks better here: NDCG@10 .0000 against 1.0000, -1.0000 (-1.0000 to -1.0000); use "
        "it, or train with other settings"
    )
    better = [*LOG, LogLine(step=12, valid={"sequential": 2.0}, improved=True)]
    found = judge(titled, answers(titled.dataset, None), better)
    assert "use it, or train longer (validation still got better at the end)" in found.sentence
    assert found.improving
    assert any("more epochs may help" in warning for warning in found.warnings)


def test_no_difference(titled, monkeypatch):
    with_simple(monkeypatch, {"EASE": [3, 3, 3, 3]})
    found = judge(titled, answers(titled.dataset, 3), LOG)
    assert found.sentence.startswith("no difference to EASE, the best simple one, can be seen: ")


def verdict_of(run, *more, flags=()):
    data = run.with_name("few")
    if not data.exists():
        write_folder(data)
    done = script("pretrain.py", data, *SMALL, *flags, "--checkpoint", run, *more, report=False)
    assert "Traceback" not in done.stderr
    return done


def test_the_file_the_page_and_what_to_run_next(tmp_path):
    run = tmp_path / "a run"
    done = verdict_of(run)
    assert done.returncode == 0, done.stderr
    found = read_verdict(run, read_record(run))
    assert found.users == 4
    assert 0 < found.texts <= 4
    assert found.sentence in done.stdout
    assert f"recommend.py {tmp_path}/few --checkpoint '{run}' --user U1" in done.stdout
    assert script("-m", "modules.reports.page", run, report=True).returncode == 0
    page = Page((run / "report.html").read_text())
    assert page.text.index("Verdict") < page.text.index("What was run")
    assert found.sentence[1:] in page.text
    assert f"difference to {found.simple[0].title}" in [cells[0] for cells in page.cells if cells]

    assert verdict_of(run, "--resume", flags=["--no_verdict"]).returncode == 0
    assert not (run / "verdict.json").exists()  # it was on the run before it went on
    assert verdict_of(run, "--resume").returncode == 0
    assert (run / "verdict.json").exists()
    assert verdict_of(run, "--overwrite", flags=["--no_verdict", "--seed", 1]).returncode == 0
    assert not (run / "verdict.json").exists()


def test_another_programs_file_stays(tmp_path):
    run = tmp_path / "run"
    assert verdict_of(run, flags=["--no_verdict"]).returncode == 0
    (run / "verdict.json").write_text('{"guilty": true}')
    done = verdict_of(run, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert "verdict.json was not written" in done.stdout
    assert (run / "verdict.json").read_text() == '{"guilty": true}'
    done = script("-m", "modules.reports.page", run)
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("no room"), MemoryError()])
def test_whatever_ends_the_verdict_leaves_a_whole_run(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(compare, "judge", fail)
        done = verdict_of(run)
    assert done.returncode == (130 if isinstance(error, KeyboardInterrupt) else 0), done.stderr
    assert not (run / "verdict.json").exists()
    open_run(run, tmp_path / "few", CPU)
    done = verdict_of(run, "--resume")
    assert done.returncode == 0, done.stderr
    assert (run / "verdict.json").exists()


def test_what_is_not_compared(titled, capsys):
    from modules.training.settings import Settings

    write_verdict(titled, Settings(tasks=["direct"]))
    write_verdict(titled, Settings(shard=True))
    out = capsys.readouterr().out
    assert "the sequential task was not trained" in out
    assert "--shard has split the model" in out


@pytest.mark.parametrize(
    "change",
    [{"users": 0}, {"simple": []}, {"simple": 3}, {"ndcg": [1]}, {"sentence": 1}, {"items": -1}],
)
def test_a_verdict_that_is_none_costs_the_report_nothing(place, change, capsys):
    from modules.reports.sources import read_results

    path = place.run / "verdict.json"
    whole = json.loads(path.read_text())
    assert read_results(place.run, None).verdict == read_verdict(place.run, read_record(place.run))
    path.write_text(json.dumps(whole | change))
    assert read_results(place.run, None).verdict is None
    assert "the report is without a verdict" in capsys.readouterr().out
    path.write_text(json.dumps(whole | {"run_id": "another"}))
    assert read_results(place.run, None).verdict is None
