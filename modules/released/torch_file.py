"""A file of ``torch.save`` read without running what is in its pickle.

A pickle is a program: it may name any function of any installed package and have it called, and
``torch.load(weights_only=True)``, which refuses that, refuses a whole pickled module as well. Here
the names are looked up in two closed lists, never imported: tensors and plain containers are
rebuilt by the functions of this file, and objects of classes that the caller calls inert become a
``Record``, which keeps the name of the class and the object's state. Every other name is refused.

Files may come from a GPU: where a tensor lay is not looked at, and all of them end up on the CPU.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from utils.errors import UserError, limit

ZIP_HEAD = b"PK\x03\x04"  # PyTorch 1.6 and later; before, pickles and raw numbers end to end
LEGACY_MAGIC, LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of those

STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Dense(NamedTuple):
    """A tensor, in a shell that a pickle can do nothing to."""

    tensor: torch.Tensor


class SparseCoo(NamedTuple):
    """A sparse tensor as the file has it; that it makes sense is for the reader to check."""

    indices: torch.Tensor
    values: torch.Tensor
    size: tuple[int, ...]


class _Sealed(type):
    """A class whose attributes a pickle cannot set."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"sets attribute {name!r} of a class")


class Record(metaclass=_Sealed):
    """An object of a class that is not rebuilt: its state, and nothing that could be run."""

    __slots__ = ("state",)
    class_name = ""  # "module.Class"; each class of the file has a Record class of its own

    def __new__(cls, *arguments: object) -> "Record":
        record = super().__new__(cls)
        record.state = {}
        return record

    def __setstate__(self, state: object) -> None:
        if type(state) is not dict:
            raise pickle.UnpicklingError(f"the state of {self.class_name} is no dict")
        self.state = state


class _Storage(NamedTuple):
    data: torch.UntypedStorage
    dtype: torch.dtype


class _Rebuild(NamedTuple):
    """A function that a pickle may call; unlike a plain one it has no attributes to set."""

    function: Callable[..., Any]

    def __call__(self, *arguments: object) -> Any:
        return self.function(*arguments)


def _tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *_: object) -> Dense:
    numbers = (offset, *size, *stride)
    if any(type(n) is not int or n < 0 for n in numbers) or len(size) != len(stride):
        raise pickle.UnpicklingError(f"tensor of size {limit(size)}, stride {limit(stride)}")
    have = storage.data.nbytes() // storage.dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    # More elements than the storage has: a few bytes blown up to fill the memory.
    if prod(size) and (last >= have or prod(size) > have):
        raise pickle.UnpicklingError(f"tensor of size {limit(size)} in a storage of {have} numbers")
    return Dense(torch.empty(0, dtype=storage.dtype).set_(storage.data, offset, size, stride))


def _parameter(data: Dense, *_: object) -> Dense:
    if not isinstance(data, Dense):
        raise pickle.UnpicklingError("a parameter that is no tensor")
    return data


def _sparse(layout: str, parts: tuple) -> SparseCoo:
    indices, values, size = parts[:3]
    if layout != "torch.sparse_coo":
        raise pickle.UnpicklingError(f"a sparse tensor of layout {limit(layout)}")
    return SparseCoo(_parameter(indices).tensor, _parameter(values).tensor, tuple(size))


_REBUILT = {
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Rebuild(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Rebuild(_parameter),
    ("torch._utils", "_rebuild_sparse_tensor"): _Rebuild(_sparse),
    ("torch.serialization", "_get_layout"): _Rebuild(str),
    ("torch", "Size"): _Rebuild(tuple),
    ("collections", "OrderedDict"): _Rebuild(OrderedDict),
    ("builtins", "set"): _Rebuild(set),
    ("__builtin__", "set"): _Rebuild(set),  # the same, as protocol 2 writes it
}

StorageOf = Callable[[str, torch.dtype, int], torch.UntypedStorage]  # key, type, numbers


# The unpickler of the standard library that is written in Python: the one in C makes as much room
# for references as a file's opcodes name, whether or not they are there.
class _Unpickler(pickle._Unpickler):
    """Looks names up in closed lists; see the top of this file."""

    def __init__(
        self, file: BinaryIO, path: Path, inert: Callable[[str, str], bool], storage_of: StorageOf
    ) -> None:
        super().__init__(file)
        self._path, self._inert, self._storage_of = path, inert, storage_of
        self._records: dict[str, type[Record]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name of the pickle; nothing is imported."""
        if (module, name) in _REBUILT:
            return _REBUILT[module, name]
        full = f"{module}.{name}"
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        of_torch = module == "torch" and (
            name == "device" or isinstance(vars(torch).get(name), torch.dtype)
        )
        if not of_torch and not self._inert(module, name):
            raise UserError(
                f"{self._path}: refused, and nothing of it was run: its pickle asks for "
                f"{limit(full)}, which is no part of a model. Only tensors, plain containers and "
                "the state of modules are read; do not open this file with torch.load either."
            )
        if full not in self._records:
            self._records[full] = _Sealed(name, (Record,), {"__slots__": (), "class_name": full})
        return self._records[full]

    def persistent_load(self, pid: Any) -> Any:
        """The numbers of a tensor; in old files also the class of a module."""
        kind, *rest = pid
        if kind == "module" and isinstance(rest[0], _Sealed):
            return rest[0]
        dtype, key, _location, count, *view = rest
        known = kind == "storage" and isinstance(dtype, torch.dtype) and type(key) is str
        if not known or type(count) is not int or count < 0 or view not in ([], [None]):
            raise pickle.UnpicklingError(f"an unknown kind of storage: {limit(pid)}")
        return _Storage(self._storage_of(key, dtype, count), dtype)


def _read_zip(path: Path, inert: Callable[[str, str], bool]) -> Any:
    with zipfile.ZipFile(path) as archive:
        found = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(found) != 1:
            raise pickle.UnpicklingError("no data.pkl inside")
        base = found[0].removesuffix("data.pkl")

        def stored(name: str) -> bytes:
            info = archive.getinfo(base + name)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > path.stat().st_size:
                raise pickle.UnpicklingError(f"{name} is compressed, as torch.save never writes it")
            return archive.read(info)

        if base + "byteorder" in archive.namelist() and stored("byteorder") != b"little":
            raise pickle.UnpicklingError("numbers in big-endian order")
        read: dict[str, torch.UntypedStorage] = {}

        def storage_of(key: str, dtype: torch.dtype, count: int) -> torch.UntypedStorage:
            if key not in read:
                content = bytearray(stored(f"data/{key}"))
                read[key] = (
                    torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0)
                ).untyped_storage()
            if read[key].nbytes() != count * dtype.itemsize:
                raise pickle.UnpicklingError(f"storage {key} is not of {count} {dtype}")
            return read[key]

        return _Unpickler(io.BytesIO(stored("data.pkl")), path, inert, storage_of).load()


def _read_legacy(path: Path, inert: Callable[[str, str], bool]) -> Any:
    sizes: dict[str, tuple[torch.Tensor, int]] = {}  # bytes, and numbers in them
    left = path.stat().st_size

    def storage_of(key: str, dtype: torch.dtype, count: int) -> torch.UntypedStorage:
        nonlocal left  # the numbers come last in the file: room is made, and filled below
        if key not in sizes:
            left -= count * dtype.itemsize
            if left < 0:
                raise pickle.UnpicklingError(f"storage {key} of {count} {dtype} is not all there")
            sizes[key] = torch.empty(count * dtype.itemsize, dtype=torch.uint8), count
        content, had = sizes[key]
        if had != count or len(content) != count * dtype.itemsize:
            raise pickle.UnpicklingError(f"storage {key} is not of {count} {dtype}")
        return content.untyped_storage()

    with path.open("rb") as file:

        def load() -> Any:
            return _Unpickler(file, path, inert, storage_of).load()

        if load() != LEGACY_MAGIC or load() != LEGACY_VERSION:
            raise pickle.UnpicklingError("no mark of torch.save")
        load()  # sizes of C types on the machine that wrote it
        root, keys = load(), load()
        if type(keys) is not list or sorted(keys) != sorted(sizes):
            raise pickle.UnpicklingError("the list of storages is not that of the tensors")
        for key in keys:
            content, count = sizes[key]
            if struct.unpack("<q", file.read(8)) != (count,):
                raise pickle.UnpicklingError(f"storage {key} is not of {count} numbers")
            if file.readinto(memoryview(content.numpy())) != len(content):
                raise pickle.UnpicklingError(f"storage {key} is cut short")
    return root


def read_torch_file(path: str | Path, inert: Callable[[str, str], bool]) -> Any:
    """What ``torch.save`` wrote: plain containers and numbers, ``Dense`` and ``SparseCoo`` tensors
    on the CPU, ``Record``s.

    Args:
        path: a file of any PyTorch since 0.4 (the older tar format is refused).
        inert: called with a module's and a class's name; whether its objects become records.

    Raises:
        UserError: where the file asks for anything else, naming it; or is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(ZIP_HEAD)) == ZIP_HEAD
        return (_read_zip if is_zip else _read_legacy)(path, inert)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # a broken pickle can fail in any way
        raise UserError(
            f"{path}: damaged, cut short, or no file of torch.save "
            f"({type(error).__name__}: {limit(str(error), 200)}). Fetch it again."
        ) from error
