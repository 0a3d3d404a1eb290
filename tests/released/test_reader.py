"""Reading files of torch.save: what they may hold, and what they must not be able to do."""

import os
import pickle
import struct
import subprocess
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from modules.released import reader
from modules.released.reader import read_released, released_t5
from modules.released.unpickle import inert_classes
from tests.solomon import authors_module, new_solomon, save_on_gpu
from utils.errors import UserError

IN_A_NEW_PROCESS = reader._open_elsewhere  # conftest.py puts a fork in its place
LIMITS = {"memory": 64 << 20, "seconds": 1}


class Hostile:
    """An object that runs something when it is unpickled."""

    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


def payloads(marker):
    """Objects that make the file ``marker`` when unpickled, by the name that each asks for (in
    protocols up to 2, Python 2's)."""
    code = f"open({str(marker)!r}, 'w').close()"
    return {
        "posix.system": Hostile(os.system, f"touch {marker}"),
        "(subprocess|commands).run": Hostile(subprocess.run, ["touch", str(marker)]),
        "__builtin__.eval": Hostile(eval, code),
        "__builtin__.exec": Hostile(exec, code),
        "io.open": Hostile(open, str(marker), "w"),
        "getattr|pathlib": Hostile(Path.touch, marker),
        "torch.serialization.save": Hostile(torch.save, 1, str(marker)),
    }


@pytest.mark.parametrize("name", sorted(payloads(Path())))
def test_nothing_hostile_runs(name, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "model.pt"
    payload = payloads(marker)[name]
    pickle.loads(pickle.dumps(payload))
    assert marker.exists()  # so it is hostile: the standard library runs it
    marker.unlink()

    module = nn.Linear(2, 3)
    module.note = [("a", payload)]
    nested = OrderedDict(weights={"encoder": torch.ones(3)}, module=module)
    asked = f"({name}|{name.replace('__builtin__', 'builtins')}|a.name.in.a.protocol)"
    for content in (payload, nested):
        for protocol in (2, 3, 4, 5):
            torch.save(content, path, pickle_protocol=protocol)
            with pytest.raises(UserError, match=f"refused, and nothing of it was run.*{asked}"):
                inert_classes(path)
        torch.save(content, path, _use_new_zipfile_serialization=False)
        with pytest.raises(UserError, match=r"damaged, cut short, or older than PyTorch 1\.6"):
            read_released(path)
    assert not marker.exists()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value: int) -> bytes:
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def call(function: str, arguments: bytes) -> bytes:
    """Opcodes that call a function on a tuple, which is made by the opcodes given."""
    module, _, name = function.rpartition(".")
    return f"c{module}\n{name}\n".encode() + arguments + b"R"


def tensor(offset: int, size: int, stride: int, count: int = 4, key: str = "0") -> bytes:
    """Numbers of storage "0" on a GPU, which has four, and says to have ``count``."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cuda:0")
    shape = integer(offset) + integer(size) + b"\x85" + integer(stride) + b"\x85"
    arguments = b"(" + storage + integer(count) + b"tQ" + shape + b"\x89}t"
    return call("torch._utils._rebuild_tensor_v2", arguments)


OBJECT = b"ctorch.nn.modules.linear\nLinear\n)\x81"


def solomon(value: bytes) -> bytes:
    """A module with a configuration, and a value as attribute and buffer ``a``."""
    state = text("config") + OBJECT + text("a") + value + b"q\x09"
    return b"cmodule\nSolomon\n)\x81}(" + state + text("_buffers") + b"}" + text("a") + b"h\x09sub"


def written(path, program, *more, compression=zipfile.ZIP_STORED):
    """A file of torch.save whose pickle is this program; more: names and contents of entries."""
    four = struct.pack("<4f", 1, 2, 3, 4)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + program + b".")
        for name, content in (("version", "3"), ("data/0", four), *more):
            archive.writestr(f"archive/{name}", content)
    return path


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (b"ctorch\nload\n", "torch.load"),
        (b"ctorch.nn.modulesX\nos.system\n", "torch.nn.modulesX"),
        (b"ctorch.nn.modules.\x1b[2J\nX\n", "torch.nn.modules"),
        (b"(iposix\nsystem\n", "posix.system"),
        # torch.load would call these, though no model needs them.
        (call("__builtin__.bytearray", integer(2**40) + b"\x85"), "__builtin__.bytearray"),
        (b"c_codecs\nencode\n", "_codecs.encode"),
        (b"ctorch.storage\nUntypedStorage\n", "torch.storage.UntypedStorage"),
    ],
)
def test_names_refused(program, name, tmp_path):
    with pytest.raises(UserError, match=f"nothing of it was run: its pickle asks for .*{name}"):
        inert_classes(written(tmp_path / "model.pt", program))


def test_a_function_under_an_inert_name_is_not_called(tmp_path):
    """Inert names stand for classes of ours, whatever is there in the real package."""
    name = "torch.nn.modules.module.register_module_forward_hook"
    found = read_released(written(tmp_path / "model.pt", solomon(call(name, b")"))))
    assert (found.class_name, found.attributes) == ("module.Solomon", {"a": f"<{name}>"})


TUPLES = b")q\x00" + b"h\x00\x86q\x00" * 40  # each holds the one before twice: 2^40 at the end
LISTS = b"]q\x00" + b"](h\x00h\x00eq\x00" * 40
SHARING = b"".join(integer(i * (2**61 - 1)) + b"N" for i in range(1, 60_000))  # all of hash 0
TUPLE = "refused, and nothing of it was run: its pickle holds tuples in tuples"
MEMORY, TIME = "more than the memory can hold", "took over 1 s of CPU time"
RESIZE = "damaged.*resize storage that is not resizable"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (tensor(2, 3, 1), RESIZE),
        (tensor(0, 2**31, 1), RESIZE),
        (tensor(0, 2**31, 1, count=2**31), RESIZE),  # beyond the end of the file
        (tensor(0, 2**28, 0), f"{MEMORY}.*alloc"),  # four numbers, many times
        (tensor(0, 2, -1), "damaged.*overflowed"),
        (tensor(-1, 2, 1), "damaged.*offset -1"),
        (tensor(0, 4, 1, key="9"), "damaged.*data/9"),
        (OBJECT + b"K\x07b", "damaged"),
        (b"}" + TUPLES + b"Ns", TUPLE),  # the hash of a key
        (b"}(" + TUPLES + b"Nu", TUPLE),
        (b"}" + TUPLES.replace(b"\x86", b"N\x87") + b"Ns", TUPLE),
        (b"}" + b")q\x00" + b"(h\x00h\x00h\x00tq\x00" * 40 + b"Ns", TUPLE),
        (b"}" + b")p0\n" + b"g0\ng0\n\x86p0\n" * 40 + b"Ns", TUPLE),
        (b"}" + b")" + b"2\x86" * 40 + b"Ns", TUPLE),
        (call("__builtin__.set", b"](" + TUPLES + b"e\x85"), TUPLE),
        (call("collections.OrderedDict", b"](" + TUPLES + b"N\x86e\x85"), TUPLE),
        (b"}(" + SHARING + b"u", TIME),  # keys of one hash
        (call("torch.device", LISTS + b"\x85"), f"{TIME}|{MEMORY}"),  # text of a list
    ],
)
def test_hand_made_programs_refused(program, message, tmp_path):
    path = written(tmp_path / "model.pt", solomon(program))
    with pytest.raises(UserError, match=message) as raised:
        read_released(path, **LIMITS)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("count", [3, 50])
def test_a_storage_is_a_slice_of_the_file(count, tmp_path):
    """One that says to be larger than its entry has the bytes after it."""
    path = written(tmp_path / "model.pt", solomon(tensor(1, count - 1, 1, count)))
    numbers = read_released(path).tensors["a"]
    assert numbers[:2].tolist() == [2, 3]
    assert numbers.numpy().tobytes() in path.read_bytes()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives(tmp_path):
    def refused(change, program=b"N", *more, **kinds):
        path = written(tmp_path / "model.pt", program, *more, **kinds)
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(ValueError, match="entries compressed, overlapping or damaged, or not"):
            inert_classes(path)

    refused(bytes, b"N" * 50, compression=zipfile.ZIP_DEFLATED)
    refused(bytes, b"N", ("data.pkl", b"\x80\x02N."))
    refused(lambda content: content.replace(b"data.pkl", b"data.xyz"))
    refused(lambda content: content.replace(b"Linear", b"linear", 1), OBJECT)
    path = written(tmp_path / "model.pt", OBJECT)
    assert inert_classes(path) == {"torch.nn.modules.linear.Linear"}
    with zipfile.ZipFile(path, "a") as archive:  # a thousand entries are the same part of the file
        archive.writestr("archive/data/1", bytes(1 << 20))
        archive.filelist += [archive.getinfo("archive/data/1")] * 1000
    with pytest.raises(ValueError, match="overlapping"):
        inert_classes(path)


def test_what_is_no_file_of_torch_save(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    for path in (pipe, tmp_path, "/dev/zero"):
        with pytest.raises(UserError, match=f"{path}: a folder or a device"):
            read_released(path)
    whole = written(tmp_path / "model.pt", b"N").read_bytes()
    for content in (b"", b"{}", b"\x80\x02K\x07.", *(whole[:n] for n in range(0, len(whole), 7))):
        (tmp_path / "model.pt").write_bytes(content)
        with pytest.raises(UserError, match="damaged, cut short, or older"):
            inert_classes(tmp_path / "model.pt")


def test_everything_is_as_it_was_saved(tmp_path):
    base = torch.randn(6, 4)
    kinds = ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    tensors = {f"of_{kind}": (torch.randn(3, 2) * 3).to(getattr(torch, kind)) for kind in kinds}
    tensors |= {"view": base[1:4, 2], "transposed": base.T, "empty": torch.empty(0, 3)}
    plain = {"none": None, "yes": True, "half": 2.5, "words": "α", "infinite": float("inf")}
    nested = [1]
    for _ in range(40):
        nested = [nested, nested]
    others = {"nested": nested, "size": (1, 2), "gpu": torch.device("cuda", 1)}
    graph = torch.sparse_coo_tensor([[0, 1], [2, 0]], [1.5, 2.0], (3, 4), check_invariants=True)
    with authors_module("module") as solomon:
        model = new_solomon(solomon, 80)
        for name, value in tensors.items():
            model.register_buffer(name, value)
        vars(model).update(plain | others | {"graph": graph})
        released = read_released(save_on_gpu(model, tmp_path / "model.pt"), **LIMITS)
    for name, expected in tensors.items():
        assert released.tensors[name].dtype == expected.dtype, name
        assert torch.equal(released.tensors[name], expected), name
    assert {name: released.attributes[name] for name in plain} == plain
    assert [released.attributes[name] for name in others] == ["<list>", "<tuple>", "<device>"]
    found = released.sparse["graph"]
    assert (found.layout, found.shape) == (torch.sparse_coo, graph.shape)
    assert torch.equal(found._indices(), graph._indices())
    assert torch.equal(found._values(), graph._values())


def test_a_model_as_the_authors_save_theirs(shared):
    path = shared / "parity" / "solomon-small.pt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    released = read_released(path)
    said = [released.attributes[name] for name in ("alpha", "L", "user_num", "item_num")]
    assert (released.class_name, said) == ("model.module.Solomon", [2, 4, 19_412, 11_924])
    assert released.tensors["user_item_embeddings.weight"].shape == (31_337, 64)
    assert list(released.sparse) == ["sparse_norm_adj"]
    with zipfile.ZipFile(path) as archive:  # the first storage is that of the token embedding
        first = torch.frombuffer(bytearray(archive.read("archive/data/0")), dtype=torch.float32)
    t5 = released_t5(released)
    assert torch.equal(t5.shared.weight.flatten(), first)
    assert t5.lm_head.weight is t5.shared.weight
    assert len(t5.state_dict()) == 50


def test_a_process_of_its_own(tmp_path, monkeypatch):
    """As it is without the forks of the other tests; from any folder; nothing is left behind."""
    monkeypatch.setattr(reader, "_open_elsewhere", IN_A_NEW_PROCESS)
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reader, "_PATIENCE", 600)  # a busy machine: the CPU limit comes first
    written(Path("-m.pt"), solomon(tensor(1, 3, 1)))
    assert read_released("-m.pt").tensors["a"].tolist() == [2, 3, 4]
    written(Path("-m.pt"), b"}(" + SHARING + b"u")
    with pytest.raises(UserError, match=r"-m\.pt: took over 1 s .*signal 24"):
        read_released("-m.pt", **LIMITS)
    monkeypatch.setattr(reader, "_PATIENCE", 0.1)
    with pytest.raises(UserError, match=r"-m\.pt: took more than 0\.1 s to open"):
        read_released("-m.pt", **LIMITS)
    assert not list(temporary.iterdir())
