"""Settings: from flags and from Python alike, each row of the table of checks, the defaults."""

import sys
from dataclasses import fields, replace

import pytest

from modules.data.protocols import train_view
from modules.model.graph import PROPAGATIONS
from modules.presets import ITEM_TOKENS, OWN_PRESETS, PRESETS, pace
from modules.training.checks import CHECKS
from modules.training.fitted import fitted
from modules.training.flags import parse_settings
from modules.training.settings import Settings
from utils.errors import UserError

# A setting for each row of CHECKS, in its order, and words of what is said.
BROKEN = [
    ({"backbone": "tiny", "model_version": 1}, "--backbone tiny and --model_version 1 contradict"),
    ({"shard": True, "optimizer": "adafactor"}, "--shard works with --optimizer adamw alone"),
    ({"shard": True, "graph_every": 2}, "without --graph_every and --compile"),
    ({"shard": True, "compile": True}, "without --graph_every and --compile"),
    (
        {"as_published": True, "preset": "item_tokens"},
        "--as_published and --preset item_tokens contradict each other",
    ),
    ({"score_pads": True, "loss": "continuations"}, "--score_pads is for whole target texts"),
    ({"simulate_leak": True}, "--protocol clean has none. Give --protocol paper"),
    ({"shard": True, "eval_users": 3}, "--shard splits it"),
    ({"item_vectors": "cooccurrence"}, "give --item_ids own as well"),
    ({"skip_nonfinite": True, "graph_every": 4}, "what --graph_every 4 adds up"),
    ({"softmax": "sampled"}, "give --item_ids own and --loss continuations as well"),
    ({"item_graph": "linear", "eval_users": 9}, "give --item_ids own and --causal as well"),
    (OWN_PRESETS["elmrec_clean"] | {"eval_users": None}, "Give --eval_users as well"),
    ({"method": "pod", "sigma": 3.0}, "--sigma is of the graph, which --method pod does not have"),
    ({"method": "p5", "L": 2}, "--L is of the graph, which --method p5 does not have"),
    ({"method": "pod", "graph_every": 2}, "--graph_every 2: --method pod has no graph"),
    ({"method": "p5", "own_edges": "drop"}, "--own_edges drop: --method p5 has no graph"),
]


@pytest.mark.parametrize(("given", "words"), BROKEN, ids=[words[:30] for _, words in BROKEN])
def test_settings_that_do_not_go_together(given, words):
    with pytest.raises(UserError) as caught:
        Settings(**given).resolved()
    assert words in str(caught.value)
    broken = [row for row in CHECKS if row.broken(Settings(**given))]
    assert len(broken) == 1  # each is tried alone


def test_every_check_is_tried(monkeypatch):
    tried = {row for given, _ in BROKEN for row in CHECKS if row.broken(Settings(**given))}
    untried = [row.message for row in CHECKS if row not in tried]
    assert len(untried) == 2
    monkeypatch.setattr("modules.training.checks.find_spec", lambda name: None)
    for package in ("tensorboard", "wandb"):
        with pytest.raises(UserError, match=f"package {package} is missing"):
            Settings(**{package: ""}).resolved()


def test_what_is_not_given_follows_from_the_rest():
    plain = Settings().resolved()
    assert (plain.backbone, plain.optimizer, plain.lr) == ("t5-small", "adamw", 1e-3)
    assert plain.item_ids == "random"
    assert Settings(protocol="paper").resolved().item_ids == "published"
    tiny = Settings(backbone="tiny").resolved()
    assert (tiny.optimizer, tiny.lr) == ("adafactor", 2e-2)
    assert Settings(backbone="tiny", shard=True).resolved().optimizer == "adamw"
    assert Settings(model_version=2).resolved().backbone == "t5-large"
    assert Settings(preset="best").resolved().preset == "item_tokens"


def test_the_preset_fills_in_what_is_not_given():
    beauty, source = Settings(objective="sequential", sigma=1.0).for_data("beauty", 100, 0)
    assert (beauty.alpha, beauty.sigma, beauty.L) == (6, 1.0, 4)
    assert source.endswith("given: sigma")
    pod, source = Settings(method="pod").for_data("beauty", 100, 0)
    assert pod.alpha == 1.0
    assert "no graph" in source
    assert Settings().for_data("mine", 100, 0)[0].alpha == 1


def test_own_edges_leave_the_graph_under_the_clean_protocol():
    assert Settings().resolved().own_edges == "drop"
    assert Settings(protocol="paper").resolved().own_edges == "keep"
    assert Settings(own_edges="keep").resolved().own_edges == "keep"
    assert Settings(method="pod").resolved().own_edges == "keep"  # no graph, no edges
    ours = Settings(**OWN_PRESETS["elmrec_clean"]).resolved()
    assert (ours.item_graph, ours.own_edges) == ("both", "drop")


@pytest.mark.parametrize(
    ("samples", "batch_size", "epochs", "steps"),
    [(4, 4, 60, 60), (400, 16, 60, 1500), (3000, 32, 17, 1581), (23607, 128, 14, 2576)],
)
def test_our_presets_follow_the_size_of_the_data(samples, batch_size, epochs, steps):
    found = pace(samples)
    assert (found.batch_size, found.epochs) == (batch_size, epochs)
    assert samples // batch_size * epochs == steps
    assert found.warmup == steps // 12
    ours, _ = Settings(**OWN_PRESETS["elmrec_clean"]).for_data("mine", samples, 0)
    assert (ours.batch_size, ours.epochs, ours.warmup) == found
    assert ours.endure_times == epochs
    given = Settings(**{**OWN_PRESETS["item_tokens"], "epochs": 3, "batch_size": 7})
    given, _ = given.for_data("mine", samples, 0)
    assert (given.batch_size, given.epochs, given.endure_times) == (7, 3, 3)
    assert OWN_PRESETS.keys() < PRESETS.keys()


def test_texts_take_turns_with_histories():
    """As many steps of histories as without texts, within the last epoch."""
    for windows, texts in ((400, 1000), (3000, 24_000), (3000, 5)):
        alone, both = pace(windows), pace(windows, texts)
        size = alone.batch_size
        assert both.batch_size == size
        steps = windows // size + texts // size
        turns = 2 if texts >= size else 1
        wanted = turns * (windows // size) * alone.epochs
        assert wanted <= both.epochs * steps < wanted + steps


def test_the_preset_explains_where_there_are_texts():
    ours = Settings(**OWN_PRESETS["elmrec_clean"], preset="elmrec_clean").resolved()
    with_texts, _ = ours.for_data("beauty", 400, 700)
    without, _ = ours.for_data("beauty", 400, 0)
    assert with_texts.tasks == ["explanation", "sequential"]
    assert with_texts.has_graph
    assert without.tasks == ["sequential"]
    assert not without.has_graph
    assert (with_texts.alpha, with_texts.sigma, with_texts.L) == (1, 0.25, 2)
    given, _ = replace(ours, tasks=["sequential"]).for_data("beauty", 400, 700)
    assert given.tasks == ["sequential"]


def parsed(monkeypatch, *flags):
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "data/demo", *flags])
    return parse_settings("about")


def test_the_command_line_gives_what_python_gives(monkeypatch):
    ours = Settings(data_dir="data/demo", preset="elmrec_clean", **OWN_PRESETS["elmrec_clean"])
    assert parsed(monkeypatch) == ours.resolved()
    flags = ("--preset", "readme", "--backbone", "t5-base")
    base = Settings(data_dir="data/demo", preset="readme", backbone="t5-base")
    assert parsed(monkeypatch, *flags) == base.resolved()
    given = {"alpha": 2.0, "L": 3, "tasks": ["direct"], "whole_words": {"direct": "position"}}
    flags = ["--alpha", "2", "--L", "3", "--tasks", "direct", "--whole_words", "direct=position"]
    flags += ["--backbone", "mini"]
    given |= {"backbone": "mini"}
    assert parsed(monkeypatch, *flags) == Settings(data_dir="data/demo", **given).resolved()


@pytest.mark.parametrize(
    ("data", "flags", "preset"),
    [
        ("data/mine", (), "elmrec_clean"),
        (
            "data/mine",
            ("--backbone", "tiny", "--epochs", "3", "--tasks", "sequential"),
            "elmrec_clean",
        ),
        ("data/beauty/", (), "readme"),
        ("./Toys", (), "readme"),
        ("data/mine", ("--as_published",), "readme"),
        ("data/mine", ("--protocol", "paper"), "readme"),
        ("data/mine", ("--method", "pod"), "readme"),
        ("data/mine", ("--alpha", "2"), "readme"),
        ("data/sports", ("--preset", "elmrec_clean"), "elmrec_clean"),
    ],
)
def test_the_preset_that_is_taken(monkeypatch, data, flags, preset):
    monkeypatch.setattr(sys, "argv", ["pretrain.py", data, *flags])
    assert parse_settings("about").preset == preset


def test_without_pretrained_weights_a_built_in_backbone_is_taken_and_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "data/beauty"])
    assert parse_settings("about").backbone == "mini"
    assert "t5-small is not to be had here" in capsys.readouterr().out
    monkeypatch.setattr("modules.training.defaults.ask_hub", lambda name: None)
    assert parse_settings("about").backbone == "t5-small"
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("modules.training.defaults.ask_hub", None)  # is not called
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "data/beauty", "--as_published"])
    assert parse_settings("about").backbone == "t5-small"


def test_sizes_that_the_data_do_not_fill_are_lowered(dataset, capsys):
    view = train_view(dataset, "clean")
    given = Settings(backbone="tiny", batch_size=64).resolved()
    ours = fitted(given, dataset, view)
    assert (ours.negative_num, ours.batch_size) == (5, 4)  # negative.txt's; 4 records are clean
    out = capsys.readouterr().out
    assert "negatives of the direct task: 5" in out
    assert "--batch_size 64 is more than a pass holds: taking 4" in out
    kept = replace(given, batch_size=2, negative_num=4, tasks=["direct"])
    assert fitted(kept, dataset, view).batch_size == 2
    assert fitted(kept, dataset, view).negative_num == 4
    without = replace(dataset, negatives=None)
    assert fitted(given, without, view).negative_num == 12 - 6  # user 3 had six of twelve


def test_the_preset_of_item_tokens_and_its_former_name(monkeypatch, capsys):
    ours = parsed(monkeypatch, "--preset", "item_tokens", "--epochs", "2")
    expected = Settings(data_dir="data/demo", preset="item_tokens", **ITEM_TOKENS).resolved()
    assert ours == replace(expected, epochs=2)
    assert parsed(monkeypatch, "--preset", "best", "--epochs", "2") == ours
    assert "--preset best is called item_tokens now" in capsys.readouterr().out


def test_a_flag_is_a_field_and_graph_encoders_can_be_chosen(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        parsed(monkeypatch, "--help")
    shown = capsys.readouterr().out
    for field in fields(Settings):
        assert f"--{field.name}" in shown
    choices = Settings.__dataclass_fields__["propagation"].metadata["how"]["choices"]
    assert set(choices) == set(PROPAGATIONS)
