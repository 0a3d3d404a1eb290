"""Small files that would fill the memory, never end, or read what is not theirs."""

import os
import pickle
import struct
import tarfile
import zipfile

import pytest
import torch
from torch import nn

from tests.released.bounded import command, convert, outcome, read
from tests.released.test_reader import LINEAR, STORAGE, tensor_program, written
from tests.solomon import authors_module, new_solomon, save_on_gpu

DAMAGED = "damaged, cut short, or no file of torch.save"
FAR = b"J" + struct.pack("<i", 2**31 - 1)
SET = "__builtin__.set"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def call(function: str, arguments: bytes) -> bytes:
    """Opcodes that call a function on a tuple, which is made by the opcodes given."""
    module, _, name = function.rpartition(".")
    return f"c{module}\n{name}\n".encode() + arguments + b"R"


SAFE_FOR_TORCH = {  # weights_only calls these, though they are no part of a model
    "__builtin__.bytearray": FAR + b"\x85",
    "_codecs.encode": text("a" * 99) + text("utf-8") + b"\x86",
    "collections.Counter": b")",
    "torch._utils._rebuild_meta_tensor_no_storage": b"(ctorch\nfloat32\nK\x01\x85K\x01\x85\x89t",
    "torch._utils._rebuild_qtensor": b")",
    "torch._tensor._rebuild_from_type_v2": b")",
    "torch.FloatTensor": FAR + b"\x85",
    "torch.storage.UntypedStorage": FAR + b"\x85",
}


@pytest.mark.parametrize("name", SAFE_FOR_TORCH)
def test_what_torch_would_call_is_refused_by_name(name, tmp_path):
    path = written(tmp_path / "model.pt", call(name, SAFE_FOR_TORCH[name]))
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
    message = outcome(read, path)
    assert message.startswith(f"{path}: refused, and nothing of it was run: its pickle asks for")
    assert name in message


TUPLES = b")q\x00" + b"h\x00\x86q\x00" * 40  # each holds the one before twice: 2^40 at the end
LISTS = b"]q\x00"
for level in range(1, 40):
    LISTS = b"]q%c(" % level + LISTS + b"h%ce" % (level - 1)
NUMBERS = b"".join(number(i) for i in range(50_000))
SHARING = b"".join(number(i * (2**61 - 1)) + b"N" for i in range(1, 100_000))  # all of hash 0
INDICES = tensor_program(0, 4, 1).replace(b"FloatStorage", b"ByteStorage")
AGAIN = 40_000
BOMBS = {
    "key": (b"}" + TUPLES + b"Ns", "tuple as a key"),
    "keys": (b"}(" + TUPLES + b"Nu", "tuple as a key"),
    "ordered": (call("collections.OrderedDict", b")") + TUPLES + b"Ns", "tuple as a key"),
    "set": (call(SET, b"](" + TUPLES + b"e\x85"), "tuple as a key"),
    "set of a tuple": (call(SET, TUPLES + b"\x85"), "set with tuple"),
    "set of a tensor": (call(SET, tensor_program(0, 4, 1) + b"\x85"), "set with _Tensor"),
    "size": (call("torch.Size", TUPLES + b"\x85"), "size or stride that is no whole number"),
    "layout": (call("torch.serialization._get_layout", TUPLES + b"\x85"), "with tuple"),
    "device": (call("torch.device", LISTS + b"\x85"), "device with list"),
    "name": (STORAGE.replace(text("0"), LISTS), "unknown kind of storage"),
    "type": (STORAGE.replace(b"ctorch\nFloatStorage\n", TUPLES), "unknown kind of storage"),
    "function": (TUPLES + b")R", "calls what is no function"),
    "class": (TUPLES + b")\x81", "calls what is no function"),
    "state": (LINEAR + b")\x81" + TUPLES + b"b", "the state of an object is no dict"),
    "hash": (b"}(" + SHARING + b"u", "int as a key"),
    "opcodes": (b"}" * 600_000, "takes more than 500,000 steps"),
    "sets": (
        b"](" + NUMBERS + b"e\x85q\x00" + call(SET, b"h\x00") + b"c__builtin__\nset\nq\x01"
        b"" + b"h\x01h\x00R" * AGAIN,
        "takes more than 500,000 steps",
    ),
    "arguments": (
        b"(" + NUMBERS + b"tq\x00" + LINEAR + b"q\x01" + b"h\x01h\x00\x81" * AGAIN,
        "takes more than 500,000 steps",
    ),
    "sparse of lists": (
        call(
            "torch._utils._rebuild_sparse_tensor",
            call("torch.serialization._get_layout", text("torch.sparse_coo") + b"\x85")
            + b"("
            + LISTS
            + LISTS
            + b"K\x04\x85t\x86",
        ),
        "sparse tensor without layout, tensors or size",
    ),
    "sparse of bytes": (
        call(
            "torch._utils._rebuild_sparse_tensor",
            call("torch.serialization._get_layout", text("torch.sparse_coo") + b"\x85")
            + b"("
            + INDICES
            + INDICES
            + b"K\x04\x85t\x86",
        ),
        "indices not of int64",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_in_the_pickle(name, tmp_path):
    program, message = BOMBS[name]
    path = written(tmp_path / "model.pt", program)
    found = outcome(read, path)
    assert found.startswith(f"{path}: {DAMAGED}")
    assert message in found
    assert len(found) < 500


def nested(kind):
    value = kind()
    for _ in range(40):
        value = kind([value, value])
    return value


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("name", ["user_num", "alpha", "feed_forward_proj", "num_layers"])
def test_bombs_that_only_lie_there(kind, name, folder, tmp_path):
    """In the state of an object nothing hashes them; no error and no account shows them."""
    with authors_module("module") as solomon:
        model = new_solomon(solomon, 80)
        owner = model.config if hasattr(model.config, name) else model
        vars(owner)[name] = nested(kind)
        path = save_on_gpu(model, tmp_path / "model.pt")
    found = outcome(convert, path, folder)
    if name == "alpha":  # POD's has none, so nobody asks for it
        assert found == "no error"
    else:
        assert found.startswith(f"{path}: {name} is a {kind.__name__}; it must be ")


def one_storage(model):
    """Twenty blocks with the same numbers: a T5 of 30 times the size of its file."""
    wide = model.encoder.block[1].layer[1].DenseReluDense
    wide.wi.weight = nn.Parameter(torch.randn(4096, 32))
    wide.wo.weight = nn.Parameter(wide.wi.weight.detach().view(32, 4096))
    for _ in range(18):
        model.encoder.block.append(model.encoder.block[1])
    model.encoder.block[0].layer[1].DenseReluDense = wide
    model.config.d_ff, model.config.num_layers = 4096, 20
    model.decoder.block[0].layer[2].DenseReluDense = wide


def twins(model):
    """2^40 modules, by their paths."""
    inner = nn.Module()
    for _ in range(40):
        inner, outer = nn.Module(), inner
        inner._modules |= {"a": outer, "b": outer}
    model.encoder._modules["twins"] = inner


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_storage, "its tensors are more than the file can hold"),
        (twins, "is no module of PyTorch"),
    ],
)
def test_bombs_in_the_module(change, message, folder, tmp_path):
    with authors_module("module") as solomon:
        model = new_solomon(solomon, 80)
        change(model)
        path = save_on_gpu(model, tmp_path / "model.pt")
    found = outcome(convert, path, folder)
    assert found.startswith(f"{path}: ")
    assert message in found


def test_names_that_are_longer_than_the_file(tmp_path):
    """Modules in modules: each tensor's full name holds the names of all modules around it."""
    weight = b"}" + text("w") + tensor_program(0, 4, 1) + b"sq\x05"
    inner = LINEAR + b")\x81"
    for _ in range(1500):
        parts = text("_parameters") + b"h\x05" + text("_modules") + b"}h\x06" + inner + b"s"
        inner = LINEAR + b")\x81}(" + parts + b"ub"
    config = text("config") + LINEAR + b")\x81"
    state = text("w") + weight + text("n" * 900) + b"q\x06N" + config
    children = text("_modules") + b"}" + text("a") + inner + b"s"
    program = b"cmodule\nSolomon\n)\x81}(" + state + children + b"ub"
    path = written(tmp_path / "model.pt", program)
    assert path.stat().st_size < 200_000
    assert "is no module of PyTorch" in outcome(convert, path, tmp_path)


# ------------------------------------------------------------------------------------- the archive


def archive(path, program, *more, compression=zipfile.ZIP_STORED):
    """A file of torch.save; more: name and content of further entries."""
    with zipfile.ZipFile(path, "w", compression) as made:
        made.writestr("archive/data.pkl", b"\x80\x02" + program + b".")
        made.writestr("archive/version", "3")
        for name, content in more:
            made.writestr(f"archive/{name}", content)
    return path


def overlapping(path):
    """A thousand entries that are all the same megabyte of the file."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("archive/data.pkl", b"\x80\x02N.")
        made.writestr("archive/data/0", bytes(1 << 20))
        entry = made.getinfo("archive/data/0")
        made.filelist += [entry] * 1000
    return path


FOUR = struct.pack("<4f", 1, 2, 3, 4)
ARCHIVES = {
    "compressed": (
        lambda path: archive(path, text("a" * (1 << 28)), compression=zipfile.ZIP_DEFLATED),
        "an entry is compressed",
    ),
    "overlapping": (overlapping, "its entries are larger than the file"),
    "two pickles": (
        lambda path: archive(path, b"N", ("data.pkl", b"\x80\x02N.")),
        "no data.pkl inside, or more than one",
    ),
    "big-endian": (
        lambda path: archive(path, STORAGE, ("data/0", FOUR), ("byteorder", "big")),
        "numbers in big-endian order",
    ),
    "short": (
        lambda path: archive(path, tensor_program(0, 4, 1), ("data/0", FOUR[:12])),
        "storage 0 is not of 4 torch.FloatStorage",
    ),
    "short by far": (
        lambda path: archive(
            path, tensor_program(0, 4, 1).replace(b"K\x04tQ", FAR + b"tQ"), ("data/0", FOUR)
        ),
        "storage 0 is not of 2147483647 torch.FloatStorage",
    ),
    "long": (
        lambda path: archive(path, tensor_program(0, 4, 1), ("data/0", FOUR * 2)),
        "storage 0 is not of 4 torch.FloatStorage",
    ),
    "of two sizes": (
        lambda path: archive(
            path, STORAGE + STORAGE.replace(b"K\x04", b"K\x05") + b"\x86", ("data/0", FOUR)
        ),
        "storage 0 is not of 5 numbers at each mention",
    ),
    "of two types": (
        lambda path: archive(
            path, STORAGE + STORAGE.replace(b"Float", b"Int") + b"\x86", ("data/0", FOUR)
        ),
        "storage 0 is not of 4 numbers at each mention",
    ),
    "elsewhere": (
        lambda path: archive(path, STORAGE.replace(text("0"), text("../x")), ("x", FOUR)),
        "a storage called '../x'",
    ),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(name, tmp_path):
    make, message = ARCHIVES[name]
    path = make(tmp_path / "model.pt")
    found = outcome(read, path)
    assert found.startswith(f"{path}: {DAMAGED}")
    assert message in found


def old_file(path, program, *storages, keys=("0",)):
    """A file as PyTorch before 1.6 wrote it."""
    magic, version = 0x1950A86A20F9469CFC6C, 1001
    parts = [pickle.dumps(value, 2) for value in (magic, version, {"little_endian": True})]
    parts += [b"\x80\x02" + program + b".", pickle.dumps(list(keys), 2), *storages]
    path.write_bytes(b"".join(parts))
    return path


def of_count(opcodes):
    """A storage as old files have it, with a view, which is None."""
    return STORAGE.replace(b"K\x04tQ", opcodes + b"NtQ")


OLD_FILES = {
    "far": (of_count(FAR), (struct.pack("<q", 2**31 - 1), FOUR), ("0",), "is not all there"),
    "huge": (of_count(number(2**50)), (struct.pack("<q", 2**50), FOUR), ("0",), "not all there"),
    "beyond": (of_count(number(2**70)), (), ("0",), "out of range"),
    "another": (of_count(b"K\x04"), (struct.pack("<q", 3), FOUR), ("0",), "is not all there"),
    "no list": (of_count(b"K\x04"), (struct.pack("<q", 4), FOUR), (), "damaged"),
    "no text": (of_count(b"K\x04"), (struct.pack("<q", 4), FOUR), (7,), "no list of storages"),
    "bomb": (of_count(b"K\x04"), (), (nested(tuple),), "no list of storages"),
    "view": (of_count(b"K\x04").replace(b"Nt", b"K\x00t"), (), ("0",), "unknown kind of storage"),
    "again": (of_count(b"K\x04").replace(b"tQ", b"tq\x00h\x00Q"), (), ("0",), "unknown kind"),
}


@pytest.mark.parametrize("name", OLD_FILES)
def test_old_files(name, tmp_path):
    program, storages, keys, message = OLD_FILES[name]
    path = old_file(tmp_path / "model.pt", program, *storages, keys=keys)
    found = outcome(read, path)
    assert found.startswith(f"{path}: {DAMAGED}")
    assert message in found


def test_an_old_file_that_is_whole(tmp_path):
    size = struct.pack("<q", 4)
    assert outcome(read, old_file(tmp_path / "a.pt", of_count(b"K\x04"), size, FOUR)) == "no error"


def test_the_tar_format_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    with tarfile.open(path, "w") as made:
        for name in ("storages", "tensors", "pickle"):
            (tmp_path / name).write_bytes(pickle.dumps(0, 2))
            made.add(tmp_path / name, name)
    assert outcome(read, path).startswith(f"{path}: {DAMAGED}")


# --------------------------------------------------------------------------- what is no file


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    for path in (pipe, tmp_path, "/dev/zero"):
        assert outcome(read, path).startswith(f"{path}: a folder or a device")


def test_pipes_on_the_command_line(folder, tokenizer, tmp_path):
    with authors_module("module") as solomon:
        model = save_on_gpu(new_solomon(solomon, len(tokenizer)), tmp_path / "model.pt")
    tokenizer.save_pretrained(words := tmp_path / "words")
    os.mkfifo(pipe := tmp_path / "pipe")

    def refused(model, data, words):
        out = tmp_path / "out"
        found = outcome(command, model, "--data_dir", data, "--tokenizer", words, "--out", out)
        assert not out.exists()
        return found

    assert refused(pipe, folder, words).startswith(f"{pipe}: a folder or a device")
    assert "data folder" in refused(model, pipe, words)
    assert refused(model, folder, pipe).startswith(f"--tokenizer {pipe}: is not a folder")
    os.mkfifo(inner := words / "added_tokens.json")
    assert refused(model, folder, words).startswith(f"{inner}: a folder or a device")
    inner.unlink()
    for name in ("sequential.txt", "explanation.json"):
        (folder / name).rename(aside := tmp_path / name)
        os.mkfifo(folder / name)
        assert refused(model, folder, words).startswith(f"{folder / name}: a folder or a device")
        (folder / name).unlink()
        aside.rename(folder / name)
