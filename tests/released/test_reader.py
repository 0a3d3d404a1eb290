"""Reading files of torch.save: what they may hold, and what they must not be able to do."""

import io
import os
import pickle
import struct
import subprocess
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from modules.released.reader import Record, read_released, read_torch_file, released_t5
from utils.errors import UserError


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
        "(subprocess|commands).Popen": Hostile(subprocess.Popen, ["touch", str(marker)]),
        "eval": Hostile(eval, code),
        "exec": Hostile(exec, code),
        "io.open": Hostile(open, str(marker), "w"),
        "getattr|pathlib": Hostile(Path.touch, marker),
        "torch.serialization.save": Hostile(torch.save, 1, str(marker)),
    }


@pytest.mark.parametrize("name", sorted(payloads(Path())))
def test_nothing_hostile_runs(name, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "model.pt"
    payload = payloads(marker)[name]
    ran = pickle.loads(pickle.dumps(payload))
    if isinstance(ran, subprocess.Popen):
        ran.wait()
    assert marker.exists()  # so it is hostile: the standard library runs it
    marker.unlink()

    module = nn.Linear(2, 3)
    module.note = [("a", payload)]
    nested = OrderedDict(weights={"encoder": torch.ones(3)}, module=module)
    for content in (payload, {"a": [payload]}):
        for protocol in range(6):
            path.write_bytes(pickle.dumps(content, protocol=protocol))
            with pytest.raises(UserError, match=f"refused, and nothing of it was run.*({name})"):
                read_torch_file(path)
    for content in (payload, nested):
        for zipped in (True, False):
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
            with pytest.raises(UserError, match=f"refused, and nothing of it was run.*({name})"):
                read_torch_file(path)
    assert not marker.exists()


def written(path: Path, program: bytes) -> Path:
    """A file of torch.save whose pickle is this program."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + program + b".")
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
    return path


# Four float32 in storage "0", on a GPU.
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
STORAGE += b"X\x06\x00\x00\x00cuda:0K\x04tQ"
LINEAR = b"ctorch.nn.modules.linear\nLinear\n"


def tensor_program(offset: int, size: int, stride: int) -> bytes:
    shape = b"".join(b"(" + b"J" + struct.pack("<i", n) + b"t" for n in (size, stride))
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + STORAGE
        + (b"J" + struct.pack("<i", offset) + shape + b"\x89}tR")
    )


def test_hand_made_programs(tmp_path):
    path = tmp_path / "model.pt"
    tensor = read_torch_file(written(path, tensor_program(1, 3, 1)))
    assert tensor.tolist() == [2, 3, 4]
    record = read_torch_file(written(path, LINEAR + b")\x81}X\x01\x00\x00\x00aK\x07sb"))
    assert isinstance(record, Record)
    far = b"Nr\xff\xff\xff\x7f"  # reference number 2^31: no room is made for those before it
    assert read_torch_file(written(path, far)) is None
    assert (record.class_name, record.state) == ("torch.nn.modules.linear.Linear", {"a": 7})


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (tensor_program(2, 3, 1), "in a storage of 4"),
        (tensor_program(0, 1_000_000, 0), "in a storage of 4"),  # four numbers blown up
        (tensor_program(0, 2, -1), "stride"),
        (tensor_program(-1, 2, 1), "damaged.*a tensor with a size or stride"),
        (STORAGE.replace(b"K\x04", b"K\x05"), "is not of 5"),
        (STORAGE.replace(b"\x000X", b"\x009X"), "damaged.*data/9"),
        (LINEAR + b"}X\x01\x00\x00\x00aK\x07sb", "damaged"),  # state of a class, not an object
        (LINEAR + b"N}X\x0a\x00\x00\x00class_nameK\x07s\x86b", "damaged"),
        (LINEAR + b")\x81K\x07b", "is no dict"),
        (b"ctorch._utils\n_rebuild_parameter\n}X\x08\x00\x00\x00functionK\x07sb", "damaged"),
        (b"ctorch._utils\n_rebuild_parameter\n(K\x07tR", "damaged.*_rebuild_parameter with int"),
        (LINEAR + b"a", "damaged"),
        (b"ctorch\nload\n", "torch.load"),
        (b"ctorch\nhub.load\n", "torch.hub.load"),
        (b"ctorch._utils\n__builtins__\n", "torch._utils.__builtins__"),
        (b"ctorch.nn.modulesX\nos.system\n", "torch.nn.modulesX"),
    ],
)
def test_hand_made_programs_refused(program, message, tmp_path):
    with pytest.raises(UserError, match=message) as raised:
        read_torch_file(written(tmp_path / "model.pt", program))
    assert str(tmp_path / "model.pt") in str(raised.value)


def test_a_function_under_an_inert_name_is_not_called(tmp_path):
    """Inert names stand for records whatever lies there in the real package."""
    name = b"ctorch.nn.modules.module\nregister_module_forward_hook\n"
    before = len(nn.modules.module._global_forward_hooks)
    record = read_torch_file(written(tmp_path / "model.pt", name + b"(" + LINEAR + b"tR"))
    assert isinstance(record, Record)
    assert len(nn.modules.module._global_forward_hooks) == before


TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32]
TYPES += [torch.int16, torch.int8, torch.uint8, torch.bool]


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_those_that_were_saved(zipped, tmp_path):
    base = torch.randn(6, 4)
    saved = {str(t): (torch.randn(3, 2) * 3).to(t) for t in TYPES}
    saved |= {"view": base[1:4, 2], "transposed": base.T, "empty": torch.empty(0, 3)}
    saved |= {"scalar": torch.tensor(7), "parameter": nn.Parameter(base)}
    rest = {"set": {1, 2}, "none": None, "size": torch.Size([2, 3]), "numbers": (1, 2.5, "α", True)}
    path = tmp_path / "file.pt"
    torch.save((saved, rest), path, _use_new_zipfile_serialization=zipped)
    tensors, others = read_torch_file(path)
    assert others == rest
    assert tensors.keys() == saved.keys()
    for name, tensor in saved.items():
        assert tensors[name].dtype == tensor.dtype, name
        assert torch.equal(tensors[name], tensor), name
    assert tensors["view"].data_ptr() == tensors["parameter"][1:, 2:].data_ptr()


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("zipped", [True, False])
def test_sparse_tensors_and_modules(zipped, tmp_path):
    with torch.sparse.check_sparse_tensor_invariants():
        sparse = torch.sparse_coo_tensor([[0, 1], [2, 0]], [1.5, 2.0], (3, 4))
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    module.graph, module.device = sparse, torch.device("cuda", 1)
    path = tmp_path / "file.pt"
    torch.save(module, path, _use_new_zipfile_serialization=zipped)
    record = read_torch_file(path)
    assert record.class_name == "torch.nn.modules.container.Sequential"
    graph = record.state["graph"]
    assert graph.layout is torch.sparse_coo
    assert graph.shape == (3, 4)
    assert torch.equal(graph._indices(), sparse._indices())
    assert torch.equal(graph._values(), sparse._values())
    linear = record.state["_modules"]["0"].state["_parameters"]
    assert torch.equal(linear["weight"], module[0].weight)
    assert record.state["device"] == torch.device("cuda", 1)
    torch.save(sparse.to_sparse_csr(), path)
    with pytest.raises(UserError, match="sparse_csr"):
        read_torch_file(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_short_or_damaged_is_named(zipped, tmp_path):
    path = tmp_path / "file.pt"
    torch.save(nn.Linear(20, 30), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    # The old format has no length: a name that is cut short reads as a name that nobody knows.
    message = r"file\.pt: damaged, cut short" + ("" if zipped else "|refused, and")
    for length in (*range(0, 40, 3), *range(40, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=message):
            read_torch_file(path)
    if zipped:  # its checksums notice a changed number; the old format has none
        at = whole.index(nn_bytes(whole))
        path.write_bytes(whole[:at] + b"\0" + whole[at + 1 :])
        with pytest.raises(UserError, match="CRC"):
            read_torch_file(path)


def nn_bytes(whole: bytes) -> bytes:
    """The first numbers of the weight in a zip file."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data/0"))
        return archive.read(name)[:16]


def test_what_is_no_file_of_torch_save(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(UserError, match=r"model\.pt: no such file"):
        read_torch_file(path)
    for content in (b"", b"PK\x03\x04", b"{}", b"\x80\x02K\x07.", b"some text\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"no file of torch\.save"):
            read_torch_file(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02N." + b"0" * 10_000)
    with pytest.raises(UserError, match="compressed"):
        read_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    with pytest.raises(UserError, match=r"no data\.pkl"):
        read_torch_file(path)


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


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_make_it_fail_otherwise(tmp_path_factory, data):
    """Changed, dropped and added opcodes: a result or a UserError, never another exception."""
    buffer = io.BytesIO()
    torch.save({"a": nn.Linear(1, 1), "b": (1, [2.5], {3})}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        program = bytearray(archive.read("archive/data.pkl")[2:-1])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(program)))
        program[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path = written(tmp_path_factory.getbasetemp() / "fuzz.pt", bytes(program))
    with suppress(UserError):
        read_torch_file(path)
