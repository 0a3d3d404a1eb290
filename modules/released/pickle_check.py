"""A dry run of the pickle in a file of ``torch.save``, before torch reads it.

A pickle is a program: it names functions and has them called. ``torch.load(weights_only=True)``
calls only those it knows. But some of them fill the memory from a few bytes, any key is hashed,
and a storage is read as far as the pickle says. So the program runs on stand-ins first: constants,
tuples, lists and dicts stand for themselves, everything else is a mark of its kind. A program that
passes can only make tensors inside of their storages, plain containers, and inert objects that
keep their state.
"""

import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from utils.errors import UserError, limit

CLASS = "Solomon"  # in both repositories; its module is model.module (ELMRec) or module (POD)
_INERT = (  # where the other classes of a pickled T5 live
    "torch.nn.modules.",
    "transformers.models.t5.",
    "transformers.activations.",
    "transformers.configuration_utils.",
    "transformers.generation.configuration_utils.",
)
_TYPES = {1: "Bool Byte Char", 2: "BFloat16 Half Short", 4: "Float Int", 8: "Double Long"}
_ITEM_BYTES = {f"torch.{t}Storage": size for size, ts in _TYPES.items() for t in ts.split()}
_MAX_WORK = 500_000  # steps of a program; those of T5-11B take 150,000
_MAX_CLASSES = 100  # torch goes through them at each call; a pickled T5 names about 20
_MAX_CLASS_NAME = 200  # characters
_MAX_DIMENSIONS = 8  # of a tensor
_STORAGE_WORK = 20  # steps that a mention of a storage counts as: torch may look it up in the zip
_MAX_KEY = 2**60  # whole numbers below it have hashes of their own
OLD_ID = "modules.released.reader.old_id"  # called on ids as PyTorch before 1.6 wrote them


class Storage(NamedTuple):
    """So many numbers of one type, by torch's name for it."""

    type_name: str
    count: int
    nbytes: int


class Checked(NamedTuple):
    """A pickle that torch may read."""

    program: bytes
    value: Any  # a constant, or a container of stand-ins: never to be hashed, compared or shown
    classes: set[str]  # inert ones, by their full names
    storages: dict[str, Storage]  # by their keys


class _Name(str):
    """Stands for the function or class of that name."""


class _Tensor(str):
    """Stands for a dense tensor, by the type of its storage."""


_OBJECT, _LAYOUT, _OTHER = object(), object(), object()  # of an inert class; sparse_coo; the rest


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise pickle.UnpicklingError(reason)


def _require_keys(keys: Iterable[Any]) -> object:
    """Plain keys only: a tuple may take for ever to hash, and large numbers can share a hash."""
    for key in keys:
        small = type(key) is int and abs(key) < _MAX_KEY
        _require(small or key is None or type(key) in (str, bool), f"{type(key).__name__} as a key")
    return _OTHER


def _require_sizes(numbers: tuple) -> tuple:
    _require(len(numbers) <= 2 * _MAX_DIMENSIONS + 1, "a tensor of too many dimensions")
    whole = all(type(n) is int and 0 <= n < 2**63 for n in numbers)
    _require(whole, "a tensor with a size or stride that is no whole number from 0")
    return numbers


def _tensor(storage: Storage, offset: int, size: tuple, stride: tuple, *_: object) -> _Tensor:
    _require_sizes((offset, *size, *stride))
    _require(len(size) == len(stride), f"tensor of size {size}, stride {stride}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # More elements than the storage has: a few bytes blown up to fill the memory.
    fits = prod(size) == 0 or (last < storage.count and prod(size) <= storage.count)
    _require(fits, f"tensor of size {size} in a storage of {storage.count} numbers")
    return _Tensor(storage.type_name)


def _parameter(data: _Tensor, _grad: bool, _hooks: dict, state: dict | None = None) -> _Tensor:
    hides = any(type(key) is not str or hasattr(torch.nn.Parameter, key) for key in state or ())
    _require(not hides, "a parameter with attributes that change what it does")
    return data


def _sparse(layout: object, parts: tuple) -> object:
    indices, values, size, *coalesced = parts
    known = layout is _LAYOUT and type(indices) is type(values) is _Tensor and type(size) is tuple
    _require(known, "a sparse tensor without layout, tensors or size")
    # torch would convert others: a copy for each call.
    _require(indices == "torch.LongStorage", "a sparse tensor with indices not of int64")
    _require_sizes(size)
    _require([type(flag) for flag in coalesced] in ([], [bool]), "an unknown kind of sparse tensor")
    return _OTHER


def _layout(name: str) -> object:
    _require(name == "torch.sparse_coo", f"layout {limit(name)}; only torch.sparse_coo is read")
    return _LAYOUT


_RULES = {  # the types of the arguments, and what gives a stand-in for the result
    "torch._utils._rebuild_tensor_v2": ((Storage, int, tuple, tuple, bool, dict), _tensor),
    "torch._utils._rebuild_parameter": ((_Tensor, bool, dict), _parameter),
    "torch._utils._rebuild_parameter_with_state": ((_Tensor, bool, dict, dict), _parameter),
    "torch._utils._rebuild_sparse_tensor": ((object, tuple), _sparse),
    "torch.serialization._get_layout": ((str,), _layout),
    "torch.Size": ((tuple,), _require_sizes),
    "torch.device": ((str, int), lambda *_: _OTHER),
    "collections.OrderedDict": ((), OrderedDict),
    "builtins.set": ((list,), _require_keys),
    "__builtin__.set": ((list,), _require_keys),  # the same, as protocol 2 writes it
}


def _inert_classes(opcodes: Iterable[tuple], path: Path) -> set[str]:
    """The inert classes that a pickle names; UserError where it names anything unknown."""
    classes: set[str] = set()
    texts = ("", "")
    for op, arg, _ in opcodes:
        if op.name not in ("GLOBAL", "INST", "STACK_GLOBAL"):
            texts = (texts[1], arg) if isinstance(arg, str) else texts
            continue
        # STACK_GLOBAL is of other protocols, which the dry run refuses; here it is only named.
        module, name = texts if arg is None else arg.split(" ", 1)
        full = f"{module}.{name}"
        is_dtype = module == "torch" and isinstance(vars(torch).get(name), torch.dtype)
        if full in _RULES or full in _ITEM_BYTES or is_dtype:
            continue
        inert = (name == CLASS or full.startswith(_INERT)) and len(full) <= _MAX_CLASS_NAME
        if not inert or not full.replace(".", "_").isidentifier():
            raise UserError(
                f"{path}: refused, and nothing of it was run: its pickle asks for {limit(full)}, "
                "which is no part of a model. Only tensors, plain containers and the state of "
                "modules are read; do not open this file with torch.load either."
            )
        classes.add(full)
    _require(len(classes) <= _MAX_CLASSES, f"its pickle names {len(classes)} classes")
    return classes


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TAKES: dict[str, int | None] = dict.fromkeys(("TUPLE", "APPENDS", "SETITEMS"))  # above the mark
_TAKES |= dict.fromkeys(("TUPLE1", "APPEND", "BUILD", "BINPERSID"), 1)
_TAKES |= dict.fromkeys(("TUPLE2", "SETITEM", "REDUCE", "NEWOBJ"), 2)
_TAKES |= {"EMPTY_TUPLE": 0, "TUPLE3": 3}


class _DryRun:
    """torch's unpickler (torch/_weights_only_unpickler.py) on stand-ins. Where there are too few
    values above a mark, this one may go on; torch does not."""

    def __init__(self, classes: set[str]) -> None:
        self.classes = classes
        self.storages: dict[str, Storage] = {}
        self.edits: list[tuple[int, int, bytes]] = []  # where, how many bytes go, what comes
        self.stack: list[Any] = []
        self._marks: list[tuple[int, int]] = []  # values below, and position in the program
        self._memo: dict[int, Any] = {}
        self._work = 0
        self._mark: int | None = None  # where the parts of a tuple begin that was just made

    def step(self, op: str, arg: Any, at: int) -> None:
        """One opcode, as pickletools names it; ``at`` is its position."""
        self._charge(1)
        mark, self._mark = self._mark, None
        match op:
            case "PROTO":
                _require(arg == 2, f"pickled with protocol {arg}; that of torch.save is 2")
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self.stack.append(_CONSTANTS[op])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                self.stack.append(arg)
            case "EMPTY_DICT" | "EMPTY_LIST":
                self.stack.append({} if op == "EMPTY_DICT" else [])
            case "GLOBAL":
                self.stack.append(_Name(arg.replace(" ", ".", 1)))
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self._memo[arg])
            case "BINPUT" | "LONG_BINPUT":
                self._memo[arg], self._mark = self.stack[-1], mark
            case "MARK":
                self._marks.append((len(self.stack), at))
            case "BINPERSID":
                self.stack[-1] = self._storage(self.stack[-1], mark, at)
            case _:
                _require(op in _TAKES, f"opcode {op}, which torch.save does not write")
                self._apply(op)

    def _charge(self, steps: int) -> None:
        self._work += steps
        _require(self._work <= _MAX_WORK, f"its pickle takes more than {_MAX_WORK:,} steps")

    def _apply(self, op: str) -> None:
        """An opcode that takes values from the stack."""
        count = _TAKES[op]
        start, mark = self._marks.pop() if count is None else (len(self.stack) - count, None)
        _require(start >= 0, "an empty stack")
        items = self.stack[start:]
        del self.stack[start:]
        match op:
            case "REDUCE" | "NEWOBJ":
                value = self._call(*items)
                _require(op == "REDUCE" or value is _OBJECT, "an object of no inert class")
                self.stack.append(value)
            case "BUILD":
                state, target = items[0], self.stack[-1]
                _require(type(state) is dict, "the state of an object is no dict")
                table = type(target) is OrderedDict and list(islice(state, 2)) == ["_metadata"]
                _require(target is _OBJECT or table, "sets the state of what is no object")
            case "APPEND" | "APPENDS":
                _require(type(self.stack[-1]) is list, "appends to what is no list")
                self.stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                _require(type(self.stack[-1]) in (dict, OrderedDict), "sets items of no dict")
                _require_keys(items[::2])
                self.stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case _:
                self.stack.append(tuple(items))
                self._mark = mark

    def _call(self, function: Any, arguments: Any) -> Any:
        _require(type(function) is _Name and type(arguments) is tuple, "calls what is no function")
        inside = sum(len(a) for a in arguments if isinstance(a, tuple | list | dict))
        self._charge(len(arguments) + inside)
        if function in self.classes:
            return _OBJECT
        types, rule = _RULES[function]
        given = [dict if type(a) is OrderedDict else type(a) for a in arguments]
        known = len(given) <= len(types) and all(t in (g, object) for g, t in zip(given, types))
        _require(known, f"calls {function} with {', '.join(g.__name__ for g in given[:10])}")
        return rule(*arguments)

    def _storage(self, key: Any, mark: int | None, at: int) -> Any:
        """The numbers of a tensor; in files of PyTorch before 1.6 also the class of a module."""
        _require(type(key) is tuple and len(key) in (4, 5, 6), "an unknown kind of storage")
        kind, first, number, location, *rest = key
        is_class = kind == "module" and type(first) is _Name and first in self.classes
        if is_class or len(key) == 6:  # torch's loader refuses these ids
            _require(mark is not None, "an unknown kind of storage")
            call = "c{}\n{}\n".format(*OLD_ID.rsplit(".", 1)).encode()
            after = pickle.REDUCE if is_class else pickle.REDUCE + pickle.BINPERSID
            self.edits += [(mark, 0, call), (at, 1, after)]
        if is_class:
            return first
        count, *view = rest
        known = kind == "storage" and type(first) is _Name and first in _ITEM_BYTES
        known = known and type(number) is type(location) is str and view in ([], [None])
        _require(known and type(count) is int and count >= 0, "an unknown kind of storage")
        short = number.isascii() and number.isdecimal() and len(number) <= 20
        _require(short, f"a storage called {limit(number)}")
        self._charge(_STORAGE_WORK)
        storage = Storage(str(first), count, count * _ITEM_BYTES[first])
        same = self.storages.setdefault(number, storage) == storage
        _require(same, f"storage {number} is not of {count} numbers at each mention")
        return storage


def check_pickle(stream: BinaryIO, path: Path) -> Checked:
    """The next pickle of a stream, which is then at its end.

    Raises:
        UserError: where it asks for a function or class that is no part of a model.
        Exception: of any kind, where it is damaged or asks for what torch must not do.
    """
    start = stream.tell()
    opcodes = list(islice(pickletools.genops(stream), _MAX_WORK + 1))
    length = stream.tell() - start
    _require(len(opcodes) <= _MAX_WORK, f"its pickle takes more than {_MAX_WORK:,} steps")
    run = _DryRun(_inert_classes(opcodes, path))
    for op, arg, at in opcodes[:-1]:  # the last one is STOP
        run.step(op.name, arg, at - start)
    stream.seek(start)
    program, parts, done = stream.read(length), [], 0
    for at, dropped, added in sorted(run.edits):
        parts += [program[done:at], added]
        done = at + dropped
    program = b"".join([*parts, program[done:]])
    return Checked(program, run.stack[-1], run.classes, run.storages)
