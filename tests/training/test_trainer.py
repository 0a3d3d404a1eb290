"""The loop: order of tasks, limits, early stopping, and that it learns."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from modules.data.dataset import HeldOut
from modules.data.negatives import NegativeSampler
from modules.loader.batches import BatchSize
from modules.loader.ragged import Ragged, recent_histories
from modules.loader.training_stream import Records, StepPlan, TrainingStream
from modules.tasks import Task, WholeWords
from modules.training.loss_meter import LossWatch
from modules.training.settings import Settings
from modules.training.trainer import Trainer
from modules.training.validation import Validation, validation_losses
from utils.errors import UserError
from utils.runtime import Machine

LOSSES = "modules.training.validation.validation_losses"


TASKS = (Task.SEQUENTIAL, Task.DIRECT)


def streams(dataset, prompts, seed=0, tasks=TASKS):
    users, items = np.array([1, 2]), np.array([3, 4])
    sources = {
        Task.DIRECT: NegativeSampler(dataset, 4),
        Task.EXPLANATION: Records(users, items, Ragged.of([[5, 6, 1], [5, 1]])),
    }
    return {
        task: TrainingStream(
            task,
            dataset,
            prompts,
            StepPlan(BatchSize(2)),
            np.random.default_rng([seed, task]),
            sources.get(task),
        )
        for task in tasks
    }


def validation(dataset, prompts):
    users, targets = np.arange(1, 5), dataset.valid_items
    histories = recent_histories(dataset, users, HeldOut.VALIDATION)
    candidates = np.concatenate([targets[:, None], dataset.negatives], axis=1)
    return {
        Task.SEQUENTIAL: prompts.sequential(users, histories, targets, BatchSize(3)),
        Task.DIRECT: prompts.direct(users, candidates, targets, BatchSize(3)),
    }


def trainer_of(dataset, prompts, model, measure=None, tasks=TASKS, **settings):
    settings = Settings(**{"optimizer": "adamw", "lr": 1e-3} | settings)
    machine = Machine(torch.device("cpu"), "fp32")
    sets = validation(dataset, prompts)
    checks = Validation(model, machine, lambda most, draw: sets, measure)
    return Trainer(model, streams(dataset, prompts, tasks=tasks), checks, settings, machine)


def fit(dataset, prompts, model, **settings):
    steps, epochs, saved = [], [], []
    trainer = trainer_of(dataset, prompts, model, **settings)
    result = trainer.fit(steps.append, epochs.append, saved.append)
    return result, steps, epochs, saved


def test_tasks_take_turns_and_an_epoch_is_all_lists(dataset, prompts, model):
    result, steps, epochs, _ = fit(dataset, prompts, model, epochs=2)
    assert [s.task for s in steps[:4]] == [Task.SEQUENTIAL, Task.DIRECT] * 2
    assert len(steps) == 8  # two lists of four users, two a batch, two epochs
    assert (result.steps, len(epochs)) == (8, 2)


def test_step_limit_validates_before_it_ends(dataset, prompts, model):
    result, steps, epochs, saved = fit(dataset, prompts, model, max_steps=3)
    assert len(steps) == 3
    assert len(epochs) == len(saved) == 1
    assert "--max_steps 3" in result.reason


def test_losses_are_reported_every_interval(dataset, prompts, model):
    _, steps, _, _ = fit(dataset, prompts, model, max_steps=4, log_interval=2)
    assert [s.losses is not None for s in steps] == [False, True, False, True]
    assert set(steps[1].losses) == {Task.SEQUENTIAL, Task.DIRECT}


def test_early_stopping_counts_over_the_run(dataset, prompts, model, monkeypatch):
    script = iter([5.0, 6.0, 4.0, 4.5, 4.1, 1.0])
    monkeypatch.setattr(LOSSES, lambda *_: {Task.SEQUENTIAL: next(script)})
    result, _, epochs, saved = fit(dataset, prompts, model, epochs=9, endure_times=3)
    assert [e.improved for e in epochs] == [True, False, True, False, False]
    assert [s.found.mean for s in saved] == [5.0, 4.0]
    assert result.best == 4.0
    assert "did not improve 3 times" in result.reason


def test_the_same_seed_gives_the_same_weights(dataset, prompts, model):
    start = {k: v.clone() for k, v in model.state_dict().items()}
    weights = []
    for _ in range(2):
        model.load_state_dict(start)
        torch.manual_seed(3)  # dropout
        fit(dataset, prompts, model, max_steps=6)
        weights.append({k: v.clone() for k, v in model.state_dict().items()})
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_explanations_have_a_dropout_of_their_own(dataset, prompts, model):
    tasks = (Task.EXPLANATION, Task.SEQUENTIAL)
    trainer = trainer_of(dataset, prompts, model, tasks=tasks, max_steps=4, text_dropout=0.25)
    seen = []
    trainer.fit(
        lambda step: seen.append((step.task, model.t5.encoder.dropout.p)), len, lambda report: None
    )
    own = model.t5.config.dropout_rate
    assert own != 0.25
    assert seen == [(Task.EXPLANATION, 0.25), (Task.SEQUENTIAL, own)] * 2


def test_a_frozen_table_is_applied_every_k_steps_and_at_an_epochs_end(
    dataset, prompts, model, monkeypatch
):
    held, moved, last = [], [], model.nodes.weight.detach().clone()
    hold = model.freeze_table
    monkeypatch.setattr(model, "freeze_table", lambda edges: (held.append(len(moved)), hold(edges)))

    def watch(report):
        nonlocal last
        now = model.nodes.weight.detach().clone()
        moved.append(not torch.equal(now, last))
        last = now

    trainer = trainer_of(dataset, prompts, model, epochs=2, graph_every=3)
    trainer.fit(watch, lambda report: None, lambda report: None)
    assert held == [0, 3, 4, 7]  # epochs of four steps
    assert moved == [False, False, True, True] * 2


def test_a_frozen_table_is_without_the_edges_of_its_steps(dataset, prompts, model, monkeypatch):
    """Of those to the end of the epoch at most, also where the run stops before."""
    frozen, used, hold, forward = [], [], model.freeze_table, model.forward
    monkeypatch.setattr(model, "freeze_table", lambda edges: (frozen.append(edges), hold(edges)))
    monkeypatch.setattr(model, "forward", lambda batch: (used.append(batch), forward(batch))[1])
    prompts = replace(prompts, drop_own_edges=True)
    trainer = trainer_of(dataset, prompts, model, epochs=2, graph_every=3, max_steps=6)
    trainer.fit(*[lambda report: None] * 3)
    asked = [batch.own_edges for batch in used if batch.own_edges is not None]
    assert len(asked) == 3  # positions, graph, in turn
    assert torch.equal(frozen[0], asked[0])  # steps 1 to 3
    assert torch.equal(frozen[1], asked[1])  # step 4
    assert torch.equal(frozen[2][:, :2], asked[2])  # step 6; positions have none


@pytest.mark.parametrize("stop", range(1, 8))
def test_a_state_holds_the_edges_that_a_frozen_table_is_without(stop, dataset, prompts, model):
    """Stopped at any step and continued: the weights of a run that was not."""
    prompts = replace(prompts, schemes=dict.fromkeys(Task, WholeWords.GRAPH), drop_own_edges=True)
    model.schemes = prompts.schemes
    start, states = copy.deepcopy(model.state_dict()), {}

    def train(steps: int, state: tuple | None = None) -> dict[str, torch.Tensor]:
        model.load_state_dict(start)
        model.zero_grad()
        trainer = trainer_of(dataset, prompts, model, epochs=2, graph_every=3, max_steps=steps)
        torch.manual_seed(5)  # dropout
        if state is not None:
            trainer.load_state(*state)

        def keep() -> None:
            states[trainer.step] = copy.deepcopy(trainer.state())

        trainer.fit(lambda _: None, lambda _: None, lambda _: None, keep)
        return copy.deepcopy(model.state_dict())

    whole = train(8)
    train(stop)
    inside = stop % 4 in (1, 2)  # epochs of four steps, a table for three of them
    assert ("frozen_edges" in states[stop][0]) is inside
    continued = train(8, states[stop])
    assert all(torch.equal(continued[name], whole[name]) for name in whole)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_before_it_reaches_the_weights(
    value, dataset, prompts, model, monkeypatch
):
    forward, count = model.forward, 0

    def sometimes(batch):
        nonlocal count
        count += 1
        return forward(batch) * (value if count == 3 else 1.0)

    monkeypatch.setattr(model, "forward", sometimes)
    with pytest.raises(UserError, match=r"step 3: the loss of the sequential task is (nan|inf)"):
        fit(dataset, prompts, model, max_steps=4)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    count = 0
    result, steps, _, _ = fit(dataset, prompts, model, max_steps=4, skip_nonfinite=True)
    assert (result.skipped, len(steps)) == (1, 4)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_on_a_gpu_losses_are_looked_at_later_and_the_step_is_still_known():
    watch = LossWatch([Task.SEQUENTIAL, Task.DIRECT], torch.device("meta"), skip=False)
    watch._first_bad = torch.zeros((), dtype=torch.long)  # what would lie on the GPU
    for step, loss in enumerate((1.0, 2.0, float("nan"), 3.0, float("inf")), start=1):
        assert watch.finite(torch.tensor(loss), step)
    with pytest.raises(UserError, match="step 3: the loss of the sequential task"):
        watch.check()


def test_out_of_memory_names_the_batch_and_what_to_lower(dataset, prompts, model, monkeypatch):
    def full(batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(model, "forward", full)
    with pytest.raises(UserError, match=r"batch has 2 prompts of \d+ tokens. Give --batch_tokens"):
        fit(dataset, prompts, model, max_steps=1)

    def broken(batch):
        raise RuntimeError("something else")

    monkeypatch.setattr(model, "forward", broken)
    with pytest.raises(RuntimeError, match="something else"):
        fit(dataset, prompts, model, max_steps=1)


def test_validation_loss_is_a_mean_over_target_tokens(dataset, prompts, model):
    """Whatever the batches: here one a user, there two and two, by hand."""
    sets = validation(dataset, prompts)
    total = tokens = 0.0
    with torch.no_grad():
        for n in range(len(sets[Task.SEQUENTIAL])):
            batch = sets[Task.SEQUENTIAL][n][1]
            for row in range(len(batch.users)):
                one = batch.each(lambda x, row=row: x[row : row + 1])
                count = int((one.labels >= 0).sum())
                total, tokens = total + model(one).item() * count, tokens + count
    losses = validation_losses(model, sets, torch.device("cpu"))
    assert losses[Task.SEQUENTIAL] == pytest.approx(total / tokens, rel=1e-5)


def test_it_learns(dataset, prompts, model):
    _, steps, _, _ = fit(dataset, prompts, model, epochs=60, endure_times=99, log_interval=20)
    means = [np.mean(list(s.losses.values())) for s in steps if s.losses]
    assert means[-1] < 0.6 * means[0]


def test_the_best_model_is_the_one_that_ranks_best_where_that_is_measured(
    dataset, prompts, model, monkeypatch
):
    losses, gains = iter([3.0, 2.0, 1.0]), iter([0.2, 0.5, 0.4])
    monkeypatch.setattr(LOSSES, lambda *_: {Task.SEQUENTIAL: next(losses)})
    measure = lambda stop: {"sequential HR@10": 0.9, "sequential NDCG@10": next(gains)}  # noqa: E731
    trainer = trainer_of(dataset, prompts, model, measure, epochs=3)
    saved, epochs = [], []
    result = trainer.fit(lambda _: None, epochs.append, saved.append)
    assert [s.found.mean for s in saved] == [3.0, 2.0]
    assert [e.found.metrics["sequential NDCG@10"] for e in epochs] == [0.2, 0.5, 0.4]
    assert result.best == -0.5


def test_learning_rate_rises_and_falls(dataset, prompts, model, monkeypatch):
    """Ten steps, four of warm-up, down to 0 over the second half: by hand."""
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self, *a: (rates.append(self.param_groups[0]["lr"]), step(self, *a))[1],
    )
    options = {"warmup": 4, "schedule": "linear", "lr": 0.01}
    fit(dataset, prompts, model, max_steps=10, epochs=9, **options)
    expected = [0.25, 0.5, 0.75, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    assert rates == pytest.approx([0.01 * rate for rate in expected])
