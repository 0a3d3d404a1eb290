"""report.html: the same bytes each time, nothing from elsewhere, no text that becomes markup."""

import base64
import json
import re
from math import sqrt
from pathlib import Path
from xml.etree import ElementTree

import pytest

from modules.presets import ALIASES, OWN_PRESETS, PRESETS
from modules.reports import plots
from modules.reports.page import build, write_report
from modules.reports.sources import read_results
from modules.runs.model_card import model_card
from modules.runs.record import model_about, model_title, read_record
from modules.tasks import METHODS, TASKS, Task, WholeWords
from modules.training.settings import Settings
from tests.conftest import process, script
from tests.reports.conftest import ARGUMENTS, NASTY, change, page_of, record, rows
from utils.errors import UserError
from utils.json_files import write_json, write_jsonl
from utils.own_files import seal


def svgs(page):
    """The sources of a page's plots, each of them well-formed."""
    images = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    sources = [base64.b64decode(image.partition(",")[2], validate=True) for image in images]
    assert {ElementTree.fromstring(source).get("version") for source in sources} == {"1.1"}
    return [source.decode() for source in sources]


def test_two_builds_are_the_same_bytes(run_folder):
    write_report(run_folder)
    first = (run_folder / "report.html").read_bytes()
    (run_folder / "report.html").unlink()
    done = script("-m", "modules.reports.page", run_folder)
    assert done.returncode == 0, done.stderr
    assert (run_folder / "report.html").read_bytes() == first
    write_json(run_folder / "run.json", record(arguments=ARGUMENTS | {"seed": 4}))
    write_report(run_folder)
    assert (run_folder / "report.html").read_bytes() != first


def test_a_link_to_a_run_is_named_and_has_baselines_beside_it(run_folder, tmp_path):
    """As the user named it, whatever the folder that it leads to is called."""
    place = tmp_path / "mine"
    place.mkdir()
    link = place / "toys"
    link.symlink_to(run_folder)
    assert build(read_results(link, None)).count("<h1>toys") == 1
    assert not any(read_results(link, None).baselines.values())
    for beside in run_folder.parent.glob("few-*"):
        (place / beside.name).symlink_to(beside)
    expected = read_results(run_folder, None).baselines
    assert any(expected.values())
    assert read_results(link, None).baselines == expected


def test_nothing_is_fetched_and_nothing_runs(run_folder):
    page = page_of(run_folder)
    page.check_harmless()
    sources = svgs(page)
    assert len(sources) == len(page.alts) == 11  # 1 curve; 2 metrics; 2 tasks: 2 groups; 4 maps
    for source in sources:
        for value in re.findall(r'href="(.*?)"|url\((.*?)\)', source):
            assert re.match("#|data:image/png;base64,", "".join(value))
        assert not re.search("<script|<foreignObject|@import|<!DOCTYPE| on[a-z]+=", source)


def test_plots_say_what_they_show(run_folder):
    alts = page_of(run_folder).alts
    curve = "training 4.0000 at step 5; validation 3.5000 at step 6 to 3.9000 "
    assert f"sequential: loss per token; {curve}at step 9; kept model: step 6" in alts
    assert "sequential: HR@10; ELMRec (this run) .5000, item-kNN .7500" in alts
    groups = "direct, by train users of the test item: HR@10"
    assert f"{groups}; 0 1.0000 (1), 1-4 .5000 (2), 20-99 .0000 (1)" in alts
    (by_side,) = [alt for alt in alts if alt.startswith("after (W): 4 users and 12 items; ")]
    assert by_side.endswith(" of variance")


def test_text_of_others_stays_text(run_folder):
    lines = rows()
    for row in lines:
        row |= {"user_id": NASTY, "item_ids": [NASTY] * 5, "target_id": NASTY}
        row["last_item_ids"] = [NASTY]
        row["reason"] = NASTY
    write_jsonl(run_folder / "sequential.jsonl", lines)
    nasty = record(dataset=NASTY, command=NASTY, commit=NASTY, versions={NASTY: NASTY})
    nasty["arguments"] = ARGUMENTS | {"backbone": NASTY}
    write_json(run_folder / "run.json", nasty)
    theirs = {"arguments": {"negative_num": 99, NASTY: NASTY}, "dataset": NASTY}
    for task in ("sequential", "direct"):
        change(run_folder / f"{task}.json", **theirs, training=nasty)
    one, less = {"title": NASTY, "hr": 0.1, "ndcg": 0.1}, {"mean": 0.1, "low": 0.1, "high": 0.1}
    judged = {"run_id": "", "users": 4, "model": one, "simple": [one], "hr": less, "ndcg": less}
    judged |= {"same_first": 0.5, "items": 9, "texts": 0, "different_texts": 0, "improving": True}
    verdict = judged | {"sentence": NASTY, "warnings": [NASTY]}
    write_json(run_folder / "verdict.json", verdict)
    theirs["title"] = NASTY
    change(run_folder.parent / "few-item_knn" / "sequential.json", **theirs)
    page = page_of(run_folder, [run_folder.parent / "few-item_knn"])
    page.check_harmless()
    assert page.text.count(NASTY) > 20
    assert f"sequential: HR@10; ELMRec (this run) .5000, {NASTY} .7500" in page.alts
    assert not any("<script" in source for source in svgs(page))


def test_where_a_run_was_resumed(run_folder):
    resumed = [{"step": 1200}, {"step": 2}]
    write_json(run_folder / "run.json", record(resumed=resumed, commit="abc+"))
    text = page_of(run_folder).text
    assert "Resumed at step 1,200, 2." in text
    assert "abc, and changes that were not committed" in text


def test_what_a_model_was_chosen_by(run_folder):
    page = page_of(run_folder)
    assert "of step 6, with a mean validation loss of 3.5000." in page.text
    log = [json.loads(line) for line in (run_folder / "train_log.jsonl").open()]
    for line, (hits, gain) in zip(log[1:], [(0.5, 0.25), (0.4, 0.2)]):
        line["metrics"] = {"direct HR@10": hits, "direct NDCG@10": gain}
    write_jsonl(run_folder / "train_log.jsonl", log)
    page = page_of(run_folder)
    assert "step 6, the best by the ranking of validation users: direct NDCG@10 .2500." in page.text
    shown = {alt.partition(";")[0] for alt in page.alts}
    assert {f"direct: validation users: {name}@10" for name in ("HR", "NDCG")} < shown


def test_a_record_that_lacks_something(run_folder):
    whole = record()
    del whole["versions"]
    write_json(run_folder / "run.json", whole)
    with pytest.raises(UserError, match=r"run\.json: object missing required field versions"):
        write_report(run_folder)
    write_json(run_folder / "run.json", [1])
    with pytest.raises(UserError, match=r"run\.json: expected object, got array"):
        write_report(run_folder)
    write_json(run_folder / "run.json", record())
    write_json(run_folder / "direct.json", {"metrics": {"HR@1": 0.5}})
    with pytest.raises(UserError, match=r"direct\.json: object missing required field dataset"):
        write_report(run_folder)


def test_an_imported_model_has_no_backbone_of_ours(run_folder):
    own = {key: value for key, value in ARGUMENTS.items() if key != "backbone"}
    write_json(run_folder / "run.json", record(arguments=own))
    text = page_of(run_folder).text
    assert "ELMRec on an imported T5; α 2, σ 1.5, L 2, K 3" in text


def test_breakdowns_by_hand(run_folder, monkeypatch):
    drawn = {}

    def catch(title, bars, label):
        drawn[title] = bars
        return plots.Plot(title, "data:")

    monkeypatch.setattr(plots, "bars", catch)
    build(read_results(run_folder, None))
    bars = drawn["sequential, by items before the test item"]
    assert [(b.label, b.value) for b in bars] == [("0-4", 0.5), ("10-19", 0.5)]
    # Wilson, n = 2, p = 1/2: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    z = 1.959963984540054
    middle, half = 0.5 + z * z / 4, z * sqrt(0.125 + z * z / 16)
    assert bars[0].low == pytest.approx((middle - half) / (1 + z * z / 2))
    assert bars[0].high == pytest.approx((middle + half) / (1 + z * z / 2))
    bars = drawn["direct, by train users of the test item"]
    assert [(b.label, b.value) for b in bars] == [("0", 1.0), ("1-4", 0.5), ("20-99", 0.0)]
    assert [b.note for b in bars] == ["1.0000 (1)", ".5000 (2)", ".0000 (1)"]


def test_what_training_saw_and_what_is_stale_is_shown(run_folder):
    assert "warning" not in [v for _, n, v in page_of(run_folder).attributes if n == "class"]
    write_json(run_folder / "run.json", record(held_out_edges_seen=1234))
    assert "saw: 1,234 as edges" in page_of(run_folder).text
    for since in ({"arguments": ARGUMENTS | {"sigma": 9}}, {"resumed": [{"step": 9}]}):
        write_json(run_folder / "run.json", record(**since))
        text = page_of(run_folder).text
        assert text.count("Not of the model that is in this folder now") == 3
    for task in ("sequential", "direct", "explanation"):
        change(run_folder / f"{task}.json", training=record(resumed=[{"step": 9}]))
    assert "Not of the model" not in page_of(run_folder).text


def test_parts_of_a_run(run_folder, tmp_path):
    text = page_of(run_folder.parent / "few-item_knn").text
    assert "item-kNN on few" in text
    assert "Training" not in text
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(UserError, match=re.escape("neither run.json nor sequential.json")):
        write_report(bare)
    write_json(bare / "run.json", record())
    text = page_of(bare).text
    assert "What was run" in text
    assert "Results" not in text


PRESET = {"method": "pod", "item_ids": "own", "tasks": ["sequential"], "whole_words": {}}
ITEM_TOKENS = "T5 with item tokens, sequential task; no graph; does not explain"


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, ITEM_TOKENS),
        ({"method": "elmrec"}, ITEM_TOKENS),  # positions for this task
        ({"method": "elmrec", "whole_words": {"sequential": "graph"}}, "ELMRec"),
        ({"method": "elmrec", "tasks": ["sequential", "direct"]}, "ELMRec"),
        (
            {"tasks": ["explanation", "sequential"]},
            "T5 with item tokens, explanation and sequential tasks; no graph",
        ),
        (
            {"item_graph": "both"},
            "T5 with item tokens and item graphs, sequential task; does not explain",
        ),
        ({"item_ids": "random"}, "POD"),
        ({"item_ids": "collaborative", "method": "p5"}, "P5"),
    ],
)
def test_titles_of_models(changes, title):
    assert model_title(PRESET | changes) == title


def test_a_model_of_item_tokens_is_not_called_pod(run_folder):
    trained = record(arguments=ARGUMENTS | PRESET)
    write_json(run_folder / "run.json", trained)
    (run_folder / "explanation.json").unlink()
    (run_folder / "direct.json").unlink()
    change(run_folder / "sequential.json", training=trained)
    page = page_of(run_folder)
    assert f"{ITEM_TOKENS}; data set few" in page.text
    assert "POD" not in page.text
    own = ["T5 with item tokens (this run)", ".2500", ".5000", ".5000", ".3467", ".3467"]
    assert own in page.cells


@pytest.mark.parametrize("module", ["modules.reports.page", "modules.data.audit"])
def test_help_imports_nothing_slow(module):
    slow = ["torch", "transformers", "matplotlib", "scipy"]
    code = f"import sys, {module}; print([name for name in {slow} if name in sys.modules])"
    assert process("-c", code).stdout == "[]\n"


ABOUT = [
    ({}, "a T5 that recommends and explains, told about the user-item graph"),
    ({"tasks": ["sequential", "direct"]}, "a T5 that recommends, told about the user-item graph"),
    ({"tasks": ["sequential"]}, "a T5 that recommends, without a graph"),
    ({"tasks": ["explanation"]}, "a T5 that explains, told about the user-item graph"),
    ({"method": "pod"}, "a T5 that recommends and explains, without a graph"),
    ({"method": "p5", "item_ids": "own"}, "a T5 that recommends and explains, without a graph"),
    (
        {"item_graph": "both", "tasks": ["explanation", "sequential"]},
        "a T5 that recommends and explains, told about the user-item graph and graphs of items",
    ),
    (
        {"item_graph": "both", "tasks": ["sequential"]},
        "a T5 that recommends, told about graphs of items",
    ),
    (
        {"tasks": ["sequential"], "whole_words": {"sequential": "graph"}},
        "a T5 that recommends, told about the user-item graph",
    ),
]


@pytest.mark.parametrize(("changes", "about"), ABOUT)
def test_what_a_model_does_and_knows(run_folder, changes, about):
    arguments = {name: v for name, v in ARGUMENTS.items() if name != "tasks"} | changes
    assert model_about(arguments) == about
    write_json(run_folder / "run.json", record(arguments=ARGUMENTS | {"tasks": TASKS} | changes))
    card = model_card(read_record(run_folder), {})
    assert f"on tiny: {about}. Its T5 part" in " ".join(card.split())


@pytest.mark.parametrize("preset", [*PRESETS, *ALIASES])
@pytest.mark.parametrize("texts", [0, 9])
def test_titles_of_every_preset_are_true(preset, texts):
    """By what the settings of the preset train, and what the trained tasks read."""
    name = ALIASES.get(preset, preset)
    settings = Settings(data_dir="x", **OWN_PRESETS.get(name, {}) | {"preset": preset})
    settings, _ = settings.resolved().for_data("x", 100, texts)
    arguments = settings.as_arguments()
    title, about = model_title(arguments), model_about(arguments)
    explains = "explanation" in settings.tasks
    assert ("explains" in about) is explains
    assert explains or settings.tasks != ["sequential"] or "does not explain" in title
    scheme = {Task[t.upper()]: w for t, w in settings.whole_words.items()}
    scheme = METHODS[settings.method].whole_words | scheme
    reads = any(scheme[Task[t.upper()]] in (WholeWords.GRAPH, "graph") for t in settings.tasks)
    assert ("user-item graph" in about) is reads
    assert reads or title != "ELMRec"


@pytest.mark.usefixtures("no_drawing")
def test_date_machine_and_seed_are_in_one_line(run_folder):
    text = page_of(run_folder).text
    assert text.index("seed 3") < text.index("What was run")  # of an older version: no date
    when = {"date": "2026-11-26", "machine": "Linux x86_64, 16 processors"}
    write_json(run_folder / "run.json", record(**when))
    text = page_of(run_folder).text
    assert "trained 2026-11-26 on Linux x86_64, 16 processors; seed 3" in text
    assert text.index("trained 2026") < text.index("What was run")


@pytest.mark.usefixtures("no_drawing")
def test_settings_are_folded(run_folder):
    page = page_of(run_folder)
    assert "details" in page.tags
    assert f"training: {len(ARGUMENTS)} settings" in page.text
    assert "backbone tiny" in page.text.replace("backbone", "backbone ").replace("  ", " ")


@pytest.mark.usefixtures("no_drawing")
def test_one_bar_or_one_point_is_no_plot(run_folder):
    log = {"step": 5, "epoch": 1, "valid": {"direct": 4.0}, "metrics": {"direct NDCG@10": 0.5}}
    write_jsonl(run_folder / "train_log.jsonl", [log | {"improved": True}])
    (run_folder.parent / "few-item_knn" / "sequential.json").unlink()
    write_jsonl(run_folder / "direct.jsonl", [row | {"target_users": 3} for row in rows()])
    shown = {alt.partition(";")[0] for alt in page_of(run_folder).alts}
    assert "sequential, by train users of the test item: HR@10" in shown
    assert "direct, by train users of the test item: HR@10" not in shown
    assert not any("loss" in alt or "validation" in alt for alt in shown)
    assert "sequential: HR@10" not in shown


def test_another_report_is_left_alone(run_folder, capsys):
    path = run_folder / "report.html"
    path.write_text("<html>mine</html>")
    write_report(run_folder)
    assert path.read_text() == "<html>mine</html>"
    assert "report.html: left as it is" in capsys.readouterr().out
    old = Path(__file__).parents[2] / "utils" / "templates" / "page.html"
    head = re.sub("{#.*?#}\n", "", old.read_text()).partition("<title>")[0]
    older = head.replace('<meta name="generator" content="ELMRec">\n', "")
    for mine in (seal(head), older, ""):
        path.write_text(mine)
        write_report(run_folder)
        assert "What was run" in path.read_text()


def test_results_and_baselines_of_others_are_left_out(run_folder, capsys):
    for task in ("sequential", "direct"):
        change(run_folder / f"{task}.json", run_id="one")
    write_json(run_folder / "run.json", record(run_id="two"))
    text = page_of(run_folder).text
    assert "direct command" not in text
    assert "explanation command" in text  # of an older version: it says of no run
    assert capsys.readouterr().out.count("a result of another run (run_id 'one')") == 2
    write_json(run_folder / "run.json", record(run_id="one"))
    change(run_folder.parent / "few-item_knn" / "sequential.json", fingerprints={})
    assert [c[0] for c in page_of(run_folder).cells if c and "kNN" in c[0]] == ["item-kNN*"]
    other = {"sequential.txt": "0" * 64, "datamaps.json": "b" * 64}
    change(run_folder.parent / "few-item_knn" / "sequential.json", fingerprints=other)
    assert not [c for c in page_of(run_folder).cells if c and "kNN" in c[0]]
    assert "of other data of the name 'few'" in capsys.readouterr().out


def test_plots_take_any_value_and_name():
    for name in ("x" * 500, "a\nb\x1b[31m", "\ud800", "$x^2$", "", "<script>"):
        for low, high in ((0.0, 0.0), (-1e12, 1e12), (-1.0, -1.0), (1e-300, 1e-290)):
            drawn = [plots.bars("title", [plots.Bar(name, low), plots.Bar("b", high)], "HR@10")]
            drawn += [plots.curve("title", [(0, low), (2**53, high)], [(1, low)], 1, "loss")]
            assert all(len(plot.src) < 10**6 for plot in drawn)
