"""SASRec by RecTools: it learns a rule of what follows what, from the train items alone."""

import sys

import numpy as np
import pytest

from modules.baselines.scorer import ask
from modules.baselines.simple import BASELINES
from modules.data.dataset import HeldOut
from tests.baselines.conftest import data_of
from utils.errors import UserError

STEP = 7  # the next item is the seventh on, round the catalogue


def test_without_the_package_it_is_named(dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "rectools", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "modules.baselines.sasrec", raising=False)
    with pytest.raises(UserError, match=r"sasrec needs the package 'rectools\[torch\]'"):
        BASELINES["sasrec"].fit(dataset, seed=0, width=8, dropout=0.1)


@pytest.fixture
def rule(tmp_path):
    """Users who follow the rule from somewhere on, but for their validation items: all are 1."""
    generator = np.random.default_rng(0)
    histories = []
    for _ in range(150):
        start, length = generator.integers(30), generator.integers(4, 9)
        histories.append([(start + STEP * n) % 30 + 1 for n in range(length)])
        histories[-1][-2] = 1
    histories[0][-1] = 31  # which nobody has in train
    return data_of(tmp_path / "rule", histories)


def test_a_rule_is_learned(rule, monkeypatch):
    module = pytest.importorskip("modules.baselines.sasrec", reason="RecTools is not installed")
    table = module.train_table(rule)
    by_user = table.sort_values(["user_id", "datetime"]).groupby("user_id")["item_id"].agg(list)
    assert [row for row in by_user] == [rule.history(user)[:-2].tolist() for user in rule.users]

    # Validation items break the rule, so that it is the last epoch which is asked for here.
    monkeypatch.setattr(module, "PACE", module.Pace(every=15, patience=1, most=15))
    draws = np.random.get_state()[1].copy(), module.torch.get_rng_state()  # noqa: NPY002
    scores = []
    for _ in range(2):
        score = BASELINES["sasrec"].fit(rule, seed=0, width=32, dropout=0.1)
        scores.append(score(None, ask(rule, rule.users, HeldOut.VALIDATION)))
    assert np.array_equal(*scores)
    assert np.array_equal(draws[0], np.random.get_state()[1])  # noqa: NPY002
    assert module.torch.equal(draws[1], module.torch.get_rng_state())
    assert scores[0].shape == (150, 32)
    assert (scores[0][:, 31] < scores[0][:, 1:31].min(axis=1)).all()
    after = (ask(rule, rule.users, HeldOut.VALIDATION).last - 1 + STEP) % 30 + 1
    found = scores[0][:, 1:].argmax(axis=1) + 1
    assert (found == after).mean() > 0.95


def test_places_of_padding_change_nothing(rule, monkeypatch):
    """The loss of a step by the package's own logits, at every place, one target at a time."""
    module = pytest.importorskip("modules.baselines.sasrec", reason="RecTools is not installed")
    torch = module.torch
    checked = []

    class Checked(module.PlacesWithTargets):
        def training_step(self, batch, batch_idx):
            self.eval()  # no dropout
            logits = self.torch_model(batch).double().log_softmax(-1)
            losses = [
                -logits[row, place, target].item()
                for row, targets in enumerate(batch["y"].tolist())
                for place, target in enumerate(targets)
                if target
            ]
            loss = super().training_step(batch, batch_idx)
            checked.append((loss.item(), np.mean(losses)))
            assert loss.requires_grad
            assert len(losses) < batch["y"].numel() / 2
            self.train()
            return loss

    monkeypatch.setattr(module, "PlacesWithTargets", Checked)
    monkeypatch.setattr(module, "PACE", module.Pace(every=1, patience=1, most=1))
    BASELINES["sasrec"].fit(rule, seed=0, width=16, dropout=0.1)
    assert len(checked) == 17
    assert np.allclose(*zip(*checked), rtol=1e-5)
    assert torch.is_grad_enabled()
