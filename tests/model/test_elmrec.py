"""The model against plain T5 and numpy; its folder."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch._dynamo.testing import CompileCounter
from transformers import T5ForConditionalGeneration

from modules.loader.batches import Samples, make_batch
from modules.loader.ragged import Ragged
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.model.graph import normalized_adjacency
from modules.tasks import METHODS, Task, WholeWords
from tests.conftest import random_t5
from utils.errors import UserError


def batch_of(task, pieces, scheme=None):
    scheme = scheme or METHODS["elmrec"].whole_words[task]
    items = [[5], [7]] if task is Task.EXPLANATION else [[5, 1, 9], [2, 12]]
    samples = Samples(
        np.array([1, 3]),
        Ragged.of(items),
        pieces.item_targets.gather(np.array([11, 4])),
        np.array([1, 2]),
    )
    return make_batch(task, samples, pieces, scheme)


def test_a_frozen_table_adds_up_the_gradient_of_its_steps(model, pieces):
    """Two batches on one frozen table: the gradient of E0 is the sum of both, as without."""
    model.train()
    batches = [batch_of(Task.DIRECT, pieces), batch_of(Task.EXPLANATION, pieces)]

    def loss_of(batch):
        torch.manual_seed(0)  # the same dropout each time
        return model(batch)

    plain = [loss_of(batch) for batch in batches]
    expected = torch.autograd.grad(sum(plain), model.nodes.weight)[0]
    model.freeze_table()
    for batch, loss in zip(batches, plain):
        held = loss_of(batch)
        torch.testing.assert_close(held, loss)
        held.backward()
        assert model.nodes.weight.grad is None  # the optimizer leaves E0 alone meanwhile
    model.release_table()
    torch.testing.assert_close(model.nodes.weight.grad, expected, rtol=1e-4, atol=1e-6)
    assert model.whole_word_table(WholeWords.GRAPH).grad_fn is not None


def test_a_kept_table_is_never_used_for_gradients_or_after_a_change(model, pieces):
    """In evaluation W is kept; gradients make it anew, and so do changed weights."""
    batch = batch_of(Task.DIRECT, pieces)
    with torch.no_grad():
        kept = model.eval().whole_word_table(WholeWords.GRAPH)
        assert model.whole_word_table(WholeWords.GRAPH) is kept
    model(batch).backward()
    assert model.nodes.weight.grad.abs().sum() > 0
    with torch.no_grad():
        model.nodes.weight.mul_(2.0)
        torch.testing.assert_close(model.whole_word_table(WholeWords.GRAPH), 2 * kept)


def test_compiled_loss_is_the_same_and_compiles_once_a_padded_length(model, pieces):
    """What compiles is the path that GPUs take; the backend only counts the graphs."""
    counter = CompileCounter()
    batches = []
    for n in (3, 4, 2):
        items = Ragged.of([list(range(1, n + 1)), list(range(5, n + 5))])
        targets = pieces.item_targets.gather(np.array([11, 4]))
        samples = Samples(np.array([1, 3]), items, targets, np.array([0, 0]))
        batches.append(make_batch(Task.DIRECT, samples, pieces, WholeWords.GRAPH, pad_to=16))
    plain = [model(batch).item() for batch in batches]  # evaluation: no dropout
    model.compile_loss(counter)
    graphs = []
    for batch, expected in zip(batches, plain):
        loss = model(batch)
        assert loss.item() == pytest.approx(expected, rel=1e-4)
        loss.backward()
        graphs.append(counter.frame_count)
    assert graphs[0] == graphs[-1] > 0
    assert model.nodes.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("task", list(Task))
def test_loss_is_plain_t5s_on_the_same_embeddings(task, model, pieces):
    batch = batch_of(task, pieces)
    with torch.no_grad():
        embeds, mask = model.embed(batch)
        outside = model.t5(inputs_embeds=embeds, attention_mask=mask, labels=batch.labels)
        torch.testing.assert_close(model(batch), outside.loss)


def test_embeddings_by_numpy(model, dataset, pieces):
    """[p ; E + alpha W], W by powers of a dense A_hat."""
    batch = batch_of(Task.DIRECT, pieces)
    graph = normalized_adjacency(dataset.train_pairs(), 4, 12)
    a_hat = graph.matrix().to_dense().numpy().astype(np.float64)
    e0 = model.nodes.weight.detach().numpy()
    w = sum(np.linalg.matrix_power(a_hat, k) @ e0 for k in range(3)) / 3
    tokens = model.t5.shared.weight.detach().numpy()[batch.input_ids.numpy()]
    expected = tokens + 2.0 * w[batch.whole_word_ids.numpy()]
    with torch.no_grad():
        got, mask = model.embed(batch)
    np.testing.assert_allclose(got[:, 3:], expected, atol=1e-5)
    prompts = model.prompts.weight[6:9].detach()  # direct is task 2, three prompts a task
    for row in got:
        torch.testing.assert_close(row[:3], prompts)
    assert (mask[:, :3] == 1).all()
    assert torch.equal(mask[:, 3:], batch.attention_mask)


@pytest.mark.parametrize("own_edges", [None, [[1, 3], [9, 0]]])
def test_few_rows_of_w_made_by_themselves_are_those_of_the_whole(
    own_edges, model, pieces, monkeypatch
):
    model.train()
    edges = None if own_edges is None else torch.tensor(own_edges)
    batch = batch_of(Task.DIRECT, pieces)._replace(own_edges=edges)
    found = []
    for few in (0, 1 << 20):  # every step's rows are few; none's are
        monkeypatch.setattr("modules.model.elmrec._FEW", few)
        embeds, _ = model.embed(batch)
        made = "_PropagateTo" if few == 0 else "_Propagate"
        (gradient,) = torch.autograd.grad(embeds.square().sum(), model.nodes.weight)
        assert calls(embeds.grad_fn) & {"_PropagateToBackward", "_PropagateBackward"} == {
            f"{made}Backward"
        }
        found.append((embeds, gradient))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
    assert not found[0][1][0].any()  # row 0 is not trained


def calls(node) -> set[str]:
    """The names of all that a gradient goes through."""
    found, ahead = set(), [node]
    while ahead:
        node = ahead.pop()
        found.add(node.name())
        ahead += [step for step, _ in node.next_functions if step is not None]
    return found


def test_sequential_uses_positions_and_p5_has_no_prompts(dataset, tokenizer, pieces):
    config = ELMRecConfig(4, 12, method="p5", alpha=1.0)
    p5 = ELMRec(random_t5(len(tokenizer)), config, graph=None)
    assert p5.nodes is None
    assert p5.prompts is None
    batch = batch_of(Task.DIRECT, pieces, WholeWords.POSITION)
    embeds, mask = p5.embed(batch)
    expected = p5.t5.shared(batch.input_ids) + p5.positions(batch.whole_word_ids)
    torch.testing.assert_close(embeds, expected)
    assert torch.equal(mask, batch.attention_mask)


def test_row_zero_is_zero_and_stays(model, pieces):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for task in Task:
        model(batch_of(task, pieces)).backward()
    assert model.nodes.weight.grad[1:].abs().sum() > 0
    optimizer.step()
    assert (model.nodes.weight[0] == 0).all()
    assert (model.positions.weight[0] == 0).all()


def test_evaluation_propagates_once_and_training_forgets(model):
    with torch.no_grad():
        assert model.whole_word_table(WholeWords.GRAPH) is model.whole_word_table(WholeWords.GRAPH)
        before = model.whole_word_table(WholeWords.GRAPH).clone()
        model.train()
        model.nodes.weight.mul_(2)
        model.eval()
        torch.testing.assert_close(model.whole_word_table(WholeWords.GRAPH), 2 * before)


def test_folder_round_trip(model, pieces, tmp_path):
    model.save_pretrained(tmp_path, {"step": "7"})
    again = ELMRec.from_pretrained(tmp_path)
    assert again.config == model.config
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.metadata()["step"] == "7"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    with torch.no_grad():
        for task in Task:
            assert torch.equal(model(batch_of(task, pieces)), again(batch_of(task, pieces)))


def test_transformers_reads_the_t5_part(model, tmp_path):
    model.save_pretrained(tmp_path)
    t5 = T5ForConditionalGeneration.from_pretrained(tmp_path)
    for name, tensor in model.t5.state_dict().items():
        assert torch.equal(tensor, t5.state_dict()[name]), name


def test_damaged_folders_are_named(model, tmp_path):
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    state = load_file(weights)
    missing = {k: v for k, v in state.items() if k != "elmrec.prompts.weight"}
    save_file(missing, weights)
    with pytest.raises(UserError, match=r"prompts\.weight"):
        ELMRec.from_pretrained(tmp_path)
    save_file(state | {"elmrec.extra": torch.zeros(1)}, weights)
    with pytest.raises(UserError, match="extra"):
        ELMRec.from_pretrained(tmp_path)
    weights.write_bytes(b"12345")
    with pytest.raises(UserError, match="damaged or cut short"):
        ELMRec.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["elmrec"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="not a model folder of ELMRec"):
        ELMRec.from_pretrained(tmp_path)
