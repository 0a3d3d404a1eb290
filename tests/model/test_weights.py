"""A model's two files: the same bytes each time; what hostile ones may not do."""

import json
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from modules.model.backbone import build_backbone
from modules.model.config import read_config
from modules.model.elmrec import ELMRec
from modules.model.weights import read_metadata
from tests.conftest import random_t5
from utils.errors import UserError

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def test_the_same_model_is_the_same_bytes(model, tmp_path):
    """The library alone writes the metadata in an order that changes from one time to the next."""
    metadata = {f"key {n}": str(n) for n in range(12)}
    content = set()
    for n in range(4):
        model.save_pretrained(tmp_path / str(n), metadata)
        content.add((tmp_path / str(n) / WEIGHTS).read_bytes())
    assert len(content) == 1
    path = tmp_path / "0" / WEIGHTS
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0
    with safe_open(path, framework="pt") as file:
        assert metadata.items() <= file.metadata().items()
        assert file.metadata() == read_metadata(path.parent)
    again = ELMRec.from_pretrained(path.parent)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


@pytest.fixture
def saved(model, tmp_path):
    """The model's folder, without checksums, as another program would write it."""
    model.save_pretrained(tmp_path)
    save_file(load_file(tmp_path / WEIGHTS), tmp_path / WEIGHTS)
    return tmp_path


def set_config(folder, **entries):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


HARMLESS = [  # transformers would take them, some without end
    {"num_labels": 10**9}, {"id2label": {str(n): "x" for n in range(1000)}}, {"architectures": 5},
    {"pruned_heads": {"0": [0, 1]}}, {"torch_dtype": "float8"}, {"dtype": "x"},
    {"is_decoder": True},
    {"attn_implementation": "flash_attention_2"}, {"_attn_implementation": "x"}, {"use_cache": 5},
    {"quantization_config": {"a": 1}}, {"auto_map": {"AutoModel": "x--y.Z"}}, {"num_layer": 10**9},
    {"model_type": "bert"}, {"transformers_version": "99"}, {"initializer_factor": -1e300},
    {"dense_act_fn": "x"}, {"is_gated_act": True}, {"chunk_size_feed_forward": -1},
]  # fmt: skip


@pytest.mark.parametrize("entries", HARMLESS, ids=[next(iter(e)) for e in HARMLESS])
def test_entries_that_no_model_here_uses_are_not_passed_on(model, saved, entries):
    set_config(saved, **entries)
    started = time.perf_counter()
    again = ELMRec.from_pretrained(saved)
    assert time.perf_counter() - started < 10
    assert again.t5.config.to_dict() == ELMRec.from_pretrained(saved).t5.config.to_dict()
    for name in ("num_labels", "pruned_heads", "dense_act_fn", "is_gated_act", "is_decoder"):
        assert getattr(again.t5.config, name, None) == getattr(model.t5.config, name, None)


REFUSED = {
    "layer_norm_epsilon": [-1000, 0, 1e300, "x"],
    "dropout_rate": [-0.1, 1, 2, "x"],
    "feed_forward_proj": ["x", "gated-", "gated-x", 5, "os.system"],
    "relative_attention_num_buckets": [0, 1, 3, 10**9, 1.5],
    "relative_attention_max_distance": [-1, 0, 32, 10**12],
    "d_model": [0, -1, 10**9, 31, None],
    "d_kv": [0, 10**9, 9], "d_ff": [0, 10**9, 63], "num_heads": [0, 10**9, 3],
    "vocab_size": [0, 10**12, 7], "num_layers": [0, 200, 1], "num_decoder_layers": [0, 257, 3],
    "pad_token_id": [-1, 10**9, None], "eos_token_id": [[1], 10**9], "tie_word_embeddings": ["x"],
    "decoder_start_token_id": [None, -1], "scale_decoder_outputs": [1],
    "elmrec": [
        None, [], {}, {"n_users": 4}, {"n_users": 4, "n_items": 12, "graph_layers": 10**9},
        {"n_users": 2**31, "n_items": 2**31}, {"n_users": 4, "n_items": 12, "method": []},
        {"n_users": 4, "n_items": 12, "whole_words": {"direct": {"a": 1}}},
        {"n_users": 4, "n_items": 12, "own_edges": "maybe"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "values"), REFUSED.items(), ids=list(REFUSED))
def test_numbers_out_of_their_limits_are_refused(saved, name, values):
    for value in values:
        set_config(saved, **{name: value})
        with pytest.raises(UserError) as refusal:
            ELMRec.from_pretrained(saved)
        assert CONFIG in str(refusal.value)


def test_the_method_of_a_folder_without_its_tensors(model, saved):
    assert read_config(saved) == model.config
    set_config(saved, elmrec={"n_users": 4, "n_items": 12})  # as earlier versions wrote it
    assert read_config(saved).own_edges == "keep"
    set_config(saved, elmrec={"n_users": 4, "n_items": 12, "graph_layers": 10**9})
    with pytest.raises(UserError, match=r"config\.json: in 'elmrec': 'graph_layers' is 1000000000"):
        read_config(saved)


def header(table, data=b"", size=None):
    text = json.dumps(table).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HOSTILE = {
    "a header of 2^63 bytes": header({}, size=2**63),
    "a header of 90 MB": header({}, size=90 << 20),
    "a header that is longer than the file": header({}, size=99),
    "no header": b"",
    "a huge shape": header({"x": tensor(shape=[2**62, 2**62])}, b"0000"),
    "a negative shape": header({"x": tensor(shape=[-1])}, b"0000"),
    "overlapping tensors": header({"x": tensor(), "y": tensor()}, b"0000"),
    "a hole": header({"x": tensor(offsets=[4, 8])}, b"00000000"),
    "offsets behind the end": header({"x": tensor(offsets=[0, 2**40], shape=[2**38])}, b"0000"),
    "more data than tensors": header({"x": tensor()}, b"00000000"),
    "an unknown kind": header({"x": tensor("Q9")}, b"0000"),
    "metadata that is no text": header({"__metadata__": {"run_id": 5}}),
    "a list": header([]),
    "deep": (200000).to_bytes(8, "little") + b'{"a":' * 40000,
    "eight-bit floats": header({"x": tensor("F8_E4M3", [4])}, b"0000"),
    "booleans": header({"x": tensor("BOOL", [4])}, b"\1\1\1\1"),
    "no numbers at all": header({"x": tensor(shape=[0], offsets=[0, 0])}),
    "a name of control characters": header({"\x1b[31m\n" + "x" * 10**5: tensor()}, b"0000"),
    "no tensor": header({}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=[n.replace(" ", "_") for n in HOSTILE])
def test_hostile_weights_are_refused(saved, content):
    (saved / WEIGHTS).write_bytes(content)
    started = time.perf_counter()
    with pytest.raises(UserError) as refusal:
        ELMRec.from_pretrained(saved)
    assert WEIGHTS in str(refusal.value)
    assert len(str(refusal.value)) < 1000
    assert str(refusal.value).isprintable()
    assert time.perf_counter() - started < 10


def test_outputs_are_scaled_as_the_file_says(model, saved):
    """transformers 5 writes scale_decoder_outputs; before it, tie_word_embeddings said so."""
    for entries, scaled in (
        ({"scale_decoder_outputs": False}, False),
        ({"scale_decoder_outputs": True, "tie_word_embeddings": False}, True),
    ):
        set_config(saved, **entries)
        assert ELMRec.from_pretrained(saved).t5.config.scale_decoder_outputs is scaled
    table = json.loads((saved / CONFIG).read_text())
    del table["scale_decoder_outputs"]
    (saved / CONFIG).write_text(json.dumps(table | {"tie_word_embeddings": False}))
    assert ELMRec.from_pretrained(saved).t5.config.scale_decoder_outputs is False


@pytest.mark.parametrize("entries", HARMLESS, ids=[next(iter(e)) for e in HARMLESS])
def test_a_backbone_is_read_with_as_much_care(tokenizer, tmp_path, entries):
    t5 = random_t5(len(tokenizer))
    t5.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    set_config(tmp_path, **entries)
    again, _ = build_backbone(str(tmp_path), False, (), dropout=0.25)
    assert again.config.dropout_rate == 0.25
    assert again.dtype == torch.float32
    for name, tensor in t5.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_kinds_of_numbers_that_no_model_here_has(saved):
    """Eight-bit floats could pass for weights of full precision; halves are read as they are."""
    tensors = load_file(saved / WEIGHTS)
    prompts = tensors["elmrec.prompts.weight"]
    save_file(tensors | {"elmrec.prompts.weight": prompts.half()}, saved / WEIGHTS)
    again = ELMRec.from_pretrained(saved)
    assert torch.equal(again.prompts.weight, prompts.half().float())
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        save_file(tensors | {"elmrec.prompts.weight": prompts.to(dtype)}, saved / WEIGHTS)
        with pytest.raises(UserError, match=r"'elmrec\.prompts\.weight' is of torch\.float8"):
            ELMRec.from_pretrained(saved)
