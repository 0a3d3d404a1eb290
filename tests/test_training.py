"""The loop: order of tasks, limits, early stopping, and that it learns."""

import numpy as np
import pytest
import torch

from modules import training
from modules.samplers import NegativeSampler, TrainSampler, direct_eval, sequential_eval
from modules.tasks import Task


def samplers(dataset, pieces, model, seed=0):
    return {
        task: TrainSampler(
            task,
            dataset,
            pieces,
            model.schemes[task],
            2,
            np.random.default_rng([seed, task]),
            negatives=NegativeSampler(dataset, 4),
        )
        for task in (Task.SEQUENTIAL, Task.DIRECT)
    }


def validation(dataset, pieces, model):
    users = np.arange(1, 5)
    candidates = np.concatenate([dataset.valid_items[:, None], dataset.negatives], axis=1)
    return {
        Task.SEQUENTIAL: sequential_eval(
            dataset, users, 2, pieces, model.schemes[Task.SEQUENTIAL], 3
        ),
        Task.DIRECT: direct_eval(
            users, dataset.valid_items, candidates, pieces, model.schemes[Task.DIRECT], 3
        ),
    }


def run(dataset, pieces, model, **options):
    steps, epochs, saved = [], [], []
    result = training.fit(
        model,
        samplers(dataset, pieces, model),
        validation(dataset, pieces, model),
        training.FitOptions(**options),
        steps.append,
        epochs.append,
        saved.append,
    )
    return result, steps, epochs, saved


def test_tasks_take_turns_and_an_epoch_is_all_lists(dataset, pieces, model):
    result, steps, epochs, _ = run(dataset, pieces, model, epochs=2)
    assert [s.task for s in steps[:4]] == [Task.SEQUENTIAL, Task.DIRECT] * 2
    assert len(steps) == 8  # two lists of four users, two a batch, two epochs
    assert (result.steps, len(epochs)) == (8, 2)


def test_step_limit_validates_before_it_ends(dataset, pieces, model):
    result, steps, epochs, saved = run(dataset, pieces, model, max_steps=3)
    assert len(steps) == 3
    assert len(epochs) == len(saved) == 1
    assert "--max_steps 3" in result.reason


def test_losses_are_reported_every_interval(dataset, pieces, model):
    _, steps, _, _ = run(dataset, pieces, model, max_steps=4, log_interval=2)
    assert [s.losses is not None for s in steps] == [False, True, False, True]
    assert set(steps[1].losses) == {Task.SEQUENTIAL, Task.DIRECT}


def test_early_stopping_counts_over_the_run(dataset, pieces, model, monkeypatch):
    script = iter([5.0, 6.0, 4.0, 4.5, 4.1, 1.0])
    monkeypatch.setattr(training, "validation_losses", lambda *_: {Task.SEQUENTIAL: next(script)})
    result, _, epochs, saved = run(dataset, pieces, model, epochs=9, endure_times=3)
    assert [e.improved for e in epochs] == [True, False, True, False, False]
    assert [s.mean for s in saved] == [5.0, 4.0]
    assert result.best_loss == 4.0
    assert "did not improve 3 times" in result.reason


def test_the_same_seed_gives_the_same_weights(dataset, pieces, model):
    start = {k: v.clone() for k, v in model.state_dict().items()}
    weights = []
    for _ in range(2):
        model.load_state_dict(start)
        torch.manual_seed(3)  # dropout
        run(dataset, pieces, model, max_steps=6)
        weights.append({k: v.clone() for k, v in model.state_dict().items()})
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_a_held_table_is_applied_every_k_steps_and_at_an_epochs_end(
    dataset, pieces, model, monkeypatch
):
    held, moved, last = [], [], model.nodes.weight.detach().clone()
    hold = model.hold_table
    monkeypatch.setattr(model, "hold_table", lambda: (held.append(len(moved)), hold()))

    def watch(report):
        nonlocal last
        now = model.nodes.weight.detach().clone()
        moved.append(not torch.equal(now, last))
        last = now

    training.fit(
        model,
        samplers(dataset, pieces, model),
        validation(dataset, pieces, model),
        training.FitOptions(epochs=2, graph_every=3),
        watch,
        lambda report: None,
        lambda report: None,
    )
    assert held == [0, 3, 4, 7]  # epochs of four steps
    assert moved == [False, False, True, True] * 2


def test_validation_loss_by_hand(dataset, pieces, model):
    sets = validation(dataset, pieces, model)
    with torch.no_grad():
        parts = [(model(batch).item(), len(rows)) for rows, batch in sets[Task.DIRECT]]
    expected = sum(loss * n for loss, n in parts) / 4
    assert training.validation_losses(model, sets)[Task.DIRECT] == pytest.approx(expected)


def test_it_learns(dataset, pieces, model):
    _, steps, _, _ = run(dataset, pieces, model, epochs=60, endure_times=99, log_interval=20)
    means = [np.mean(list(s.losses.values())) for s in steps if s.losses]
    assert means[-1] < 0.6 * means[0]
