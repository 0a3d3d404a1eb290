"""``--as_published``: loss and gradients of a step, computed once more by plain T5."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from modules.data.protocols import train_view
from modules.model.dropout import set_dropout
from modules.tasks import Task
from modules.training.build import new_run, training_streams
from modules.training.flags import parse_settings
from modules.training.published import AS_PUBLISHED
from modules.training.validation import Validation
from utils.runtime import Machine

RECORDS = [(1, 3), (1, 5), (2, 1), (3, 7), (4, 12)]  # of the train part, held-out pairs included


@pytest.fixture
def folder(folder):
    """Texts of several lengths, so that there are pads to score."""
    path = folder / "explanation.json"
    records = json.loads(path.read_text())
    for record in records["train"][::2]:
        record["explanation"] = "warm"
    path.write_text(json.dumps(records))
    return folder


@pytest.fixture
def settings_of(folder, tmp_path, monkeypatch):
    def settings(*flags):
        command = ["pretrain.py", str(folder), "--as_published", "--backbone", "tiny", *flags]
        command += ["--checkpoint", str(tmp_path / "run"), "--batch_size", "2"]
        monkeypatch.setattr("sys.argv", [*command, "--negative_num", "4"])
        return parse_settings("").for_data("few", 4, len(RECORDS))[0]

    return settings


def made(dataset, settings):
    view = train_view(dataset, settings.protocol)
    run = new_run(settings, dataset, view, Machine(torch.device("cpu"), settings.precision))
    set_dropout(run.model.t5, 0.0)
    return run, view


def test_it_sets_every_choice(settings_of):
    settings = settings_of()
    assert {name: getattr(settings, name) for name in AS_PUBLISHED} == AS_PUBLISHED
    other = settings_of("--alpha", "3", "--own_edges", "drop", "--lr", "0.01")
    assert (other.alpha, other.own_edges, other.lr, other.sigma) == (3, "drop", 0.01, 5)
    pod = settings_of("--method", "pod")
    assert (pod.alpha, pod.own_edges, pod.decoder_sees_pads) == (1, "keep", True)


def plain_loss(model, t5, tables, batch, dataset):
    """The published forward pass: A_hat as a dense matrix of the records, pads read and scored."""
    n = dataset.n_users + dataset.n_items + 1
    a = np.zeros((n, n))
    for user, item in RECORDS:
        a[user, dataset.n_users + item] = a[dataset.n_users + item, user] = 1
    degrees = a.sum(1)
    scale = np.divide(1, np.sqrt(degrees), out=np.zeros(n), where=degrees > 0)
    hat = torch.from_numpy(scale[:, None] * a * scale)
    hops = [tables["nodes"]]
    for _ in range(4):
        hops.append(hat @ hops[-1])
    table = torch.stack(hops).mean(0) if batch.task != Task.SEQUENTIAL else tables["positions"]
    text = t5.shared(batch.input_ids) + 11.0 * table[batch.whole_word_ids]
    rows = tables["prompts"][3 * int(batch.task) : 3 * int(batch.task) + 3]
    embeds = torch.cat([rows.expand(len(text), -1, -1), text], dim=1)
    mask = torch.cat([torch.ones(len(text), 3, dtype=torch.long), batch.attention_mask], dim=1)
    states = t5.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
    labels = batch.labels.clone()
    labels[labels == -100] = 0
    return t5(encoder_outputs=BaseModelOutput(last_hidden_state=states), labels=labels).loss


@pytest.mark.parametrize("task", list(Task))
def test_loss_and_gradients_are_those_of_plain_t5(task, dataset, settings_of):
    settings = settings_of()
    run, view = made(dataset, settings)
    model = run.model.double().train()
    stream = training_streams(run, settings, view)[task]
    batches = [batch for _ in range(4) for batch in next(stream).batches]
    batch = max(batches, key=lambda batch: int((batch.attention_mask == 0).sum()))
    assert (batch.attention_mask == 0).any()  # there are pads to read
    t5 = copy.deepcopy(model.t5)
    tables = {
        name: getattr(model, name).weight.detach().clone().requires_grad_()
        for name in ("nodes", "positions", "prompts")
    }
    expected = plain_loss(model, t5, tables, batch, dataset)
    expected.backward()
    loss = model(batch)
    loss.backward()
    assert abs(loss.item() - expected.item()) < 1e-6
    for (name, ours), (_, theirs) in zip(model.t5.named_parameters(), t5.named_parameters()):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-7, msg=name)
    used = "positions" if task is Task.SEQUENTIAL else "nodes"
    for name in (used, "prompts"):
        ours = getattr(model, name).weight.grad
        torch.testing.assert_close(ours, tables[name].grad, rtol=1e-6, atol=1e-7, msg=name)
    assert tables[used].grad[0].abs().sum() > 0  # row 0 is learned


def test_each_choice_counts(dataset, settings_of):
    """Without pads scored, or seen, or row 0, the loss is another."""
    losses = {}
    for name in (None, "decoder_sees_pads", "train_row_0", "score_pads"):
        settings = settings_of()
        settings = replace(settings, **{name: False}) if name else settings
        run, view = made(dataset, settings)
        stream = training_streams(run, settings, view)[Task.EXPLANATION]
        batches = [batch for _ in range(6) for batch in next(stream).batches]
        assert any((batch.attention_mask == 0).any() for batch in batches)
        with torch.no_grad():
            losses[name] = round(sum(run.model.eval()(batch).item() for batch in batches), 4)
    assert len(set(losses.values())) == len(losses)


def test_negatives_are_drawn_anew(dataset, settings_of):
    settings = settings_of("--eval_users", "4")
    run, _ = made(dataset, settings)
    checks = Validation.of(run, settings)
    seen = []
    for trained in (10, 20, 20):
        checks(trained, lambda: False)
        seen.append(checks._sets[Task.DIRECT].samples.items.flat.tolist())
    assert seen[0] != seen[1] == seen[2]  # told by the place in the run: the same after a resume
