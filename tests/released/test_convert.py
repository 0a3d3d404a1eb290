"""Released modules become models that compute the same; what does not fit is named."""

import pytest
import torch
from torch import nn

from modules.loader.batches import Batch
from modules.released.convert import import_model
from modules.released.reader import read_released
from modules.tasks import Task
from tests.solomon import D, add_graph, authors_module, new_solomon, reference_logits, save_on_gpu
from utils.errors import UserError

TRAIN = [(1, 3), (1, 5), (2, 1), (3, 7), (4, 12)]  # the train records of the few-user folder
OTHER = [(1, 3), (1, 3), (2, 1), (3, 7), (4, 9), (1, 2)]  # one of them twice, as some data have
IDS = torch.tensor([[5, 17, 40, 8, 2, 1], [60, 3, 9, 1, 0, 0]])
MASK = (IDS > 0).long()
NODES = torch.tensor([[1, 1, 5 + 2, 5 + 2, 16, 0], [4, 4, 0, 0, 0, 0]])  # 16: item 12
MENTIONS = torch.tensor([[1, 1, 2, 2, 3, 0], [1, 1, 0, 0, 0, 0]])
LABELS = torch.tensor([[7, 30, 1], [12, 1, 0]])


def elmrec(solomon, pairs=TRAIN, **kinds):
    model = new_solomon(solomon, 80, **kinds)
    add_graph(model, pairs, 4, 12)
    return model


def pod(solomon, pairs=None):
    return new_solomon(solomon, 80)


@torch.no_grad()
def our_logits(model, task, whole_words):
    batch = Batch(task, IDS, MASK, whole_words, LABELS, torch.tensor([1, 4]))
    states, mask = model.encode(batch)
    return model.t5(encoder_outputs=(states,), attention_mask=mask, labels=LABELS).logits


def assert_same(model, source, pairs):
    for task in Task:
        graph = pairs is not None and task is not Task.SEQUENTIAL
        words = NODES if graph else MENTIONS
        ours = our_logits(model, task, words)
        expected = reference_logits(source, int(task), IDS, words, LABELS, MASK, pairs)
        assert expected.std() > 0.5
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source")
@pytest.mark.parametrize("pairs", [TRAIN, OTHER])
def test_elmrec_computes_the_same(pairs, dataset, tmp_path):
    with authors_module("model.module") as solomon:
        source = elmrec(solomon, pairs)
        path = save_on_gpu(source, tmp_path / "model.pt")
    imported = import_model(read_released(path), dataset, None, None)
    config = imported.model.config
    assert (config.method, config.alpha, config.graph_layers) == ("elmrec", 3, 2)
    assert config.prompt_num == 2
    assert_same(imported.model, source, pairs)
    assert torch.equal(imported.model.nodes.weight[0], source.user_item_embeddings.weight[0])
    assert imported.model.nodes.weight[0].abs().sum() > 0
    account = "\n".join(imported.found)
    for part in ("model.module.Solomon", "alpha 3", "user_num 4", "(17, 32) -> nodes", "5 edges"):
        assert part in account
    assert {"prompt_offset", "model_device", "generation_config"} <= set(imported.left)
    assert {tuple(pair) for pair in imported.view.edges.T.tolist()} == set(pairs)
    if pairs is OTHER:  # holds out: test item 9 of user 4, 2 of user 1 (valid); of TRAIN 5
        assert imported.view.held_out_edges == 2
        assert "NOT those of the data folder's train records (2 missing, 2 more)" in account
    else:
        assert imported.view.held_out_edges == 1


@pytest.mark.parametrize("name", ["module", "src.pod.module"])
def test_pod_computes_the_same(name, dataset, tmp_path):
    with authors_module(name) as solomon:
        source = pod(solomon)
        path = save_on_gpu(source, tmp_path / "model.pt")
    imported = import_model(read_released(path), dataset, None, None)
    assert imported.model.config.method == "pod"
    assert imported.model.nodes is None
    assert_same(imported.model, source, None)


def test_gated_layers_and_a_file_without_adjacency(dataset, tmp_path):
    with authors_module("model.module") as solomon:
        source = elmrec(solomon, feed_forward="gated-gelu")
        del source.sparse_norm_adj, source.alpha, source.L
        path = save_on_gpu(source, tmp_path / "model.pt")
    released = read_released(path)
    with pytest.raises(UserError, match=r"model\.pt: the module has no attribute alpha\. Give --a"):
        import_model(released, dataset, None, 2)
    with pytest.raises(UserError, match=r"no attribute L\. Give --L"):
        import_model(released, dataset, 3.0, None)
    imported = import_model(released, dataset, 3.0, 2)
    source.alpha, source.L = 3, 2
    assert_same(imported.model, source, TRAIN)
    assert "no adjacency in the file: the graph of" in imported.found[-1]


def test_settings_that_contradict_the_file(dataset, tmp_path):
    with authors_module("model.module") as solomon:
        path = save_on_gpu(elmrec(solomon), tmp_path / "model.pt")
        plain = save_on_gpu(pod(solomon), tmp_path / "pod.pt")
    with pytest.raises(UserError, match=r"--alpha 4: .*model\.pt was made with alpha 3"):
        import_model(read_released(path), dataset, 4.0, None)
    assert import_model(read_released(path), dataset, 3.0, 2).model.config.alpha == 3
    with pytest.raises(UserError, match=r"--L 2: .*pod\.pt has no user_item_embeddings"):
        import_model(read_released(plain), dataset, None, 2)


def table(rows, width=D):
    return nn.Embedding(rows, width)


def with_nan(model):
    with torch.no_grad():
        model.decoder.block[0].layer[0].SelfAttention.q.weight[0, 0] = float("nan")


def twins(model):
    """2^40 modules, by their paths."""
    inner = nn.Module()
    for _ in range(40):
        inner, outer = nn.Module(), inner
        inner._modules |= {"a": outer, "b": outer}
    model.encoder._modules["twins"] = inner


def put(**values):
    return lambda model: [setattr(model, name, value) for name, value in values.items()]


def config(**values):
    return lambda model: vars(model.config).update(values)


def graph(indices, size=(17, 17), values=(1.0, 1.0)):
    made = torch.sparse_coo_tensor(indices, values, size, check_invariants=True)
    return put(sparse_norm_adj=made)


def two_graphs(model):
    model.one = model.two = model.sparse_norm_adj
    del model.sparse_norm_adj


EDGE = [[1, 2], [2, 1]]
MISFITS = {
    "user_num is 5, but .*few has 4": put(user_num=5),
    "item_num is 11, but .*few has 12": put(item_num=11),
    "user_num is 'x'; it must be a whole number": put(user_num="x"),
    "user_num is '<tuple>'; it must be a whole number": put(user_num=(4,)),
    "alpha is nan; it must be a number": put(alpha=float("nan")),
    "L is 1.5; it must be a whole number": put(L=1.5),
    "L is True; it must be a whole number": put(L=True),
    "weight is .20, 32.*be .17, 32.*4 users and 12": put(user_item_embeddings=table(20)),
    "weight is .17, 16.*be .17, 32.*4 users and 12": put(user_item_embeddings=table(17, 16)),
    "word_embeddings.weight is .99, 32.*be .512, 32": put(whole_word_embeddings=table(99)),
    "has no whole_word_embeddings": lambda model: delattr(model, "whole_word_embeddings"),
    "has no table prompt_embeddings": lambda model: delattr(model, "prompt_embeddings"),
    "prompt_embeddings.weight has 7 rows, not 3 tasks times 2": put(prompt_embeddings=table(7)),
    "num_layers is 4, but the encoder has 2 blocks": config(num_layers=4),
    r"\(64, 32\).*it must be \(1000000, 32\)": config(d_ff=1_000_000),
    "d_model is -3; it must be a whole number": config(d_model=-3),
    "the T5 configuration has no d_kv": lambda model: delattr(model.config, "d_kv"),
    "feed_forward_proj is 'os.system'": config(feed_forward_proj="os.system"),
    "its T5 configuration: .*overflowed": config(d_kv=10**9, num_heads=10**9),
    "its T5 configuration: .*dropout probability": config(dropout_rate=1.5),
    "no T5 configuration": put(config={}),
    "decoder.*holds values that are not finite": with_nan,
    "lm_head.weight is not the token embedding|shared": put(lm_head=nn.Linear(D, 80, bias=False)),
    "is no module of PyTorch": lambda model: model.encoder._modules.update(again=model),
    "twins.* is no module of PyTorch": twins,
    "sparse_norm_adj is .9, 9.; it must be .17, 17.": graph(EDGE, (9, 9)),
    "sparse_norm_adj is not symmetric": graph([[1, 2], [8, 1]]),
    "adj holds values that are not finite": graph(EDGE, (17, 17), [1, torch.inf]),
    "sparse_norm_adj has indices": graph(EDGE, (17, 17), [1, 1]),
    "2 sparse tensors .one, two., none of them called sparse_norm_adj": two_graphs,
}


@pytest.mark.parametrize("message", MISFITS)
def test_misfits_are_named(message, dataset, tmp_path):
    with authors_module("model.module") as solomon:
        source = elmrec(solomon)
        MISFITS[message](source)
        path = save_on_gpu(source, tmp_path / "model.pt")
    with pytest.raises(UserError, match=message) as raised:
        import_model(read_released(path), dataset, None, None)
    assert str(path) in str(raised.value)


def test_an_adjacency_beyond_the_nodes(dataset, tmp_path):
    with authors_module("model.module") as solomon:
        source = elmrec(solomon)
        source.sparse_norm_adj._indices()[0, 0] = 17  # no check of PyTorch's sees this
        path = save_on_gpu(source, tmp_path / "model.pt")
    with pytest.raises(UserError, match="entries at 1 to 17; they must be from 0 to 16"):
        import_model(read_released(path), dataset, None, None)


def test_other_files_are_named(tmp_path):
    linear = nn.Linear(2, 2)
    names = ("torch.nn.modules.linear.Linear", "OrderedDict", "int")
    for content, name in zip((linear, linear.state_dict(), 7), names, strict=True):
        path = save_on_gpu(content, tmp_path / "other.pt")
        with pytest.raises(UserError, match=rf"other\.pt: holds a '{name}'\. It must hold a whole"):
            read_released(path)
