"""The edges that a training step asks about: which they are, and that nothing of them is seen."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from modules.data.negatives import NegativeSampler
from modules.loader.batches import BatchSize
from modules.loader.prompts import Prompts
from modules.loader.ragged import Ragged
from modules.loader.training_stream import Records, StepPlan, TrainingStream, edges_ahead
from modules.model.graph import normalized_adjacency
from modules.tasks import Task, WholeWords
from tests.conftest import HISTORIES

U = len(HISTORIES)
GRAPH = dict.fromkeys(Task, WholeWords.GRAPH)
EVERY = {"explanation": Task.EXPLANATION, "sequential": Task.SEQUENTIAL, "direct": Task.DIRECT}
CASES = [(name, False) for name in EVERY] + [("sequential", True)]
IDS = ["explanation", "sequential", "direct", "causal"]


def prompts_of(pieces, causal=False, drop=True) -> Prompts:
    return Prompts(pieces, GRAPH, causal, drop)


def stream_of(dataset, prompts, task, plan=StepPlan(BatchSize(4))) -> TrainingStream:  # noqa: B008
    source = None
    if task is Task.EXPLANATION:
        users, items = np.array([1, 2, 3, 4]), np.array([3, 1, 7, 12])
        source = Records(users, items, Ragged.of([[5, 6, 1], [5, 1], [6, 1], [6, 5, 1]]))
    if task is Task.DIRECT:
        source = NegativeSampler(dataset, 4)
    return TrainingStream(task, dataset, prompts, plan, np.random.default_rng(3), source)


def pairs(batch) -> set[tuple[int, int]]:
    """User and item of each own edge; item 0 for all."""
    return {(u, max(i - U, 0)) for u, i in batch.own_edges.T.tolist()}


def test_the_edges_by_hand(dataset, pieces):
    (batch,) = next(stream_of(dataset, prompts_of(pieces), Task.EXPLANATION)).batches
    assert pairs(batch) == {(1, 3), (2, 1), (3, 7), (4, 12)}
    for task in (Task.SEQUENTIAL, Task.DIRECT):
        (batch,) = next(stream_of(dataset, prompts_of(pieces), task)).batches
        assert pairs(batch) == set(zip(batch.users.tolist(), batch.items.tolist()))
        assert all(item in HISTORIES[user][:-2] for user, item in pairs(batch))
    (batch,) = next(stream_of(dataset, prompts_of(pieces, causal=True), Task.SEQUENTIAL)).batches
    assert batch.own_edges.tolist() == [batch.users.tolist(), [0] * 4]


def test_no_edges_leave_where_they_are_kept_or_no_graph_is_read(dataset, pieces):
    positions = dict.fromkeys(Task, WholeWords.POSITION)
    for prompts in (prompts_of(pieces, drop=False), replace(prompts_of(pieces), schemes=positions)):
        for task in Task:
            stream = stream_of(dataset, prompts, task)
            assert stream.edges_ahead(2) is None
            assert next(stream).batches[0].own_edges is None
        assert edges_ahead({task: stream}, range(3)) is None


def test_an_evaluation_reads_the_whole_graph(pieces):
    for causal in (False, True):
        users, items = np.array([1, 2]), Ragged.of([[3, 4], [5, 6]])
        found = prompts_of(pieces, causal).sequential(users, items, users, BatchSize(2))
        assert found[0][1].own_edges is None


@pytest.mark.parametrize(("name", "causal"), CASES, ids=IDS)
@pytest.mark.parametrize(
    "plan",
    [
        StepPlan(BatchSize(1), accumulate=4),
        StepPlan(BatchSize(4, tokens=30)),
        StepPlan(BatchSize(1), accumulate=2, rank=0, world_size=2),
        StepPlan(BatchSize(2), rank=1, world_size=2),
    ],
    ids=["accumulated", "cut by tokens", "first of two", "second of two"],
)
def test_every_batch_of_every_process_has_the_edges_of_the_whole_step(
    name, causal, plan, dataset, pieces
):
    prompts = prompts_of(pieces, causal)
    whole = stream_of(dataset, prompts, EVERY[name])
    part = stream_of(dataset, prompts, EVERY[name], plan)
    for _ in range(3):
        (expected,), found = next(whole).batches, next(part).batches
        assert all(torch.equal(batch.own_edges, expected.own_edges) for batch in found)


@pytest.mark.parametrize(("name", "causal"), CASES, ids=IDS)
def test_edges_ahead_are_those_of_the_next_steps_and_draw_nothing(name, causal, dataset, pieces):
    plan, task = StepPlan(BatchSize(2)), EVERY[name]
    ours, theirs = (stream_of(dataset, prompts_of(pieces, causal), task, plan) for _ in "ab")
    for steps in (3, 1, 2):  # two steps a pass: some of them begin a new one
        ahead = ours.edges_ahead(steps)
        batches = [next(ours).batches[0] for _ in range(steps)]
        assert torch.equal(ahead, torch.cat([batch.own_edges for batch in batches], dim=1))
        for batch in batches:
            assert torch.equal(batch.input_ids, next(theirs).batches[0].input_ids)


def test_edges_ahead_of_tasks_that_take_turns(dataset, pieces):
    plan = StepPlan(BatchSize(2))
    streams = {task: stream_of(dataset, prompts_of(pieces), task, plan) for task in Task}
    ahead = edges_ahead(streams, range(4, 6))  # sequential, direct
    used = [next(streams[task]).batches[0] for task in (Task.SEQUENTIAL, Task.DIRECT)]
    assert torch.equal(ahead, torch.cat([batch.own_edges for batch in used], dim=1))


def in_graph(model, edges: np.ndarray, prompts: Prompts):
    """A copy of a model with another train graph."""
    model = copy.deepcopy(model).train()
    model.schemes = prompts.schemes
    for name, tensor in normalized_adjacency(edges, U, model.config.n_items)._asdict().items():
        setattr(model, f"graph_{name}", tensor)
    return model


def loss_and_gradient(model, batch, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)  # of dropout
    model.zero_grad()
    loss = model(batch)
    loss.backward()
    return loss.detach(), model.nodes.weight.grad.clone()


@pytest.mark.parametrize(("name", "causal"), CASES, ids=IDS)
def test_a_step_does_not_see_what_it_is_asked_for(name, causal, dataset, pieces, model):
    """With the edges that are asked for, or without: the same step to the bit."""
    edges = dataset.train_pairs()
    for drop in (True, False):
        prompts = prompts_of(pieces, causal, drop)
        batch = next(stream_of(dataset, prompts, EVERY[name], StepPlan(BatchSize(2)))).batches[0]
        if causal:
            asked = np.isin(edges[0], batch.users)
        else:
            items = batch.items if batch.items is not None else explained(batch)
            targets = set(zip(batch.users.tolist(), items.tolist()))
            asked = np.array([tuple(pair) in targets for pair in edges.T.tolist()])
        assert asked.any()
        (loss, gradient), (other, others) = (
            loss_and_gradient(in_graph(model, graph, prompts), batch)
            for graph in (edges, edges[:, ~asked])
        )
        assert torch.equal(loss, other) is drop
        assert torch.equal(gradient, others) is drop


def test_a_causal_step_sees_no_single_edge_of_its_users(dataset, pieces, model):
    edges, prompts = dataset.train_pairs(), prompts_of(pieces, causal=True)
    batch = next(stream_of(dataset, prompts, Task.SEQUENTIAL, StepPlan(BatchSize(2)))).batches[0]
    expected, _ = loss_and_gradient(in_graph(model, edges, prompts), batch)
    equal = []
    for nth in range(edges.shape[1]):
        fewer = in_graph(model, np.delete(edges, nth, axis=1), prompts)
        equal.append(torch.equal(loss_and_gradient(fewer, batch)[0], expected))
    of_users = np.isin(edges[0], batch.users)
    assert np.array(equal)[of_users].all()
    assert not np.array(equal)[~of_users].all()  # those of others are there


def explained(batch) -> torch.Tensor:
    """The item of each explanation prompt, from its whole-word ids."""
    return batch.whole_word_ids.max(dim=1).values - U


def test_a_users_node_is_not_told_where_all_its_edges_leave(dataset, pieces):
    """In training and at test time alike; mentions of items keep their nodes."""
    for drop in (True, False):
        prompts = prompts_of(pieces, causal=True, drop=drop)
        users, items = np.array([4, 1]), Ragged.of([[3, 9], [12, 10]])
        tested = prompts.sequential(users, items, users, BatchSize(2))[0][1]
        trained = next(stream_of(dataset, prompts, Task.SEQUENTIAL)).batches[0]
        direct = next(stream_of(dataset, prompts, Task.DIRECT)).batches[0]
        for batch, told in ((tested, not drop), (trained, not drop), (direct, True)):
            ids = batch.whole_word_ids
            assert bool(((ids > 0) & (ids <= U)).any()) is told
        assert set(tested.whole_word_ids.flatten().tolist()) - {4, 1} == {
            0,
            U + 3,
            U + 9,
            U + 12,
            U + 10,
        }


def test_a_frozen_table_is_without_the_edges_of_all_its_steps(dataset, pieces, model):
    edges = torch.tensor([[1, 3], [U + 3, 0]])
    model = model.train()
    model.freeze_table(edges)
    expected = model._propagate(model.nodes.weight, edges)
    assert torch.equal(model.frozen, expected)
    assert not torch.equal(model.frozen, model._propagate(model.nodes.weight))
    batch = next(stream_of(dataset, prompts_of(pieces), Task.DIRECT)).batches[0]
    assert model.whole_word_table(WholeWords.GRAPH, batch.own_edges) is model.frozen


def test_a_batch_moves_with_its_edges(dataset, pieces):
    batch = next(stream_of(dataset, prompts_of(pieces), Task.DIRECT)).batches[0]
    assert batch.to(torch.device("meta")).own_edges.device.type == "meta"
