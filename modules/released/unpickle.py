"""A file of ``torch.save`` from somebody else, opened in a process of its own.

modules/released/reader.py starts it and reads what it writes. A pickle is a program; it is held by

1. limits of the operating system on memory, CPU time and written files, for even harmless functions
   can fill the memory or take for ever. Memory is limited on Linux only; without the module
   ``resource`` (Windows) only the reader's timeout holds.
2. a closed list of names: a file that asks for another one is refused before torch reads it.
3. a bound on tuples in tuples: a few bytes can hold one twice in the next, forty times over, and
   its hash as a key of a dict is then 2^40 hashes.
4. ``torch.load(weights_only=True)``, with stubs in place of the classes of modules and of their
   configuration: they keep their state, and nothing of the real classes runs.
"""

import json
import math
import os
import pickletools
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from utils.errors import UserError, limit

CLASS = "Solomon"  # in both repositories; its module is model.module (ELMRec) or module (POD)
_T5 = "models.t5 activations configuration_utils generation.configuration_utils"
# Where the other classes of a pickled T5 are.
_INERT = ("torch.nn.modules.", *(f"transformers.{name}." for name in _T5.split()))
_DTYPES = "bool uint8 int8 int16 int32 int64 bfloat16 float16 float32 float64"
_STORAGES = "Bool Byte Char Short Int Long BFloat16 Half Float Double"
_REBUILD = "tensor_v2 parameter parameter_with_state sparse_tensor"
_NEEDED = {  # what torch.save writes for tensors and modules; torch.load would allow more
    *("collections.OrderedDict", "builtins.set", "__builtin__.set", "torch.Size", "torch.device"),
    *("torch.serialization._get_layout", *(f"torch._utils._rebuild_{n}" for n in _REBUILD.split())),
    *(f"torch.{name}" for name in _DTYPES.split()),
    *(f"torch.{name}Storage" for name in _STORAGES.split()),
}
_MAX_PARTS = 50_000  # modules, parameters, attributes; T5-11B has some thousands, a cycle no end
_MAX_NAME = 200  # characters of a tensor's full name


class Inert:
    """An object of a class that is not run: its attributes are the state in the pickle."""


def _set_limits(memory: int, seconds: int) -> None:
    """From here on: so many bytes and CPU seconds more than this process has taken."""
    try:
        import resource
    except ImportError:
        return
    used = math.ceil(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))  # user, system
    limits = {resource.RLIMIT_CPU: used + seconds, resource.RLIMIT_FSIZE: memory}
    if (statm := Path("/proc/self/statm")).exists():
        pages = int(statm.read_text().split()[0])  # of address space
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]  # below 0: none
        resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


def inert_classes(path: str | Path) -> set[str]:
    """The classes that need a stub, by their full names; nothing is unpickled to find them.

    Raises:
        UserError: where the pickle asks for more than a model needs, or there is no zip file;
            any other exception where the file is damaged.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(
            "damaged, cut short, or older than PyTorch 1.6 (2020), as it is no zip file. Fetch it "
            "again; or open it where you trust it, with a newer PyTorch, and save the model again."
        )
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        size = sum(max(entry.file_size, entry.compress_size) for entry in entries)
        pickles = [e for e in entries if e.filename.rpartition("/")[2] == "data.pkl"]
        if not stored or size > Path(path).stat().st_size or len(pickles) != 1 or archive.testzip():
            raise ValueError("entries compressed, overlapping or damaged, or not one data.pkl")
        program = archive.read(pickles[0])
    classes = set()
    for opcode, argument, _ in pickletools.genops(program):
        if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
            name = (argument or "a name in a protocol above 2").replace(" ", ".")
            inert = name.startswith(_INERT) or name.endswith(f".{CLASS}")
            if inert and name.replace(".", "_").isidentifier():
                classes.add(name)
            elif name not in _NEEDED:
                raise UserError(
                    f"refused, and nothing of it was run: its pickle asks for {limit(name)}, "
                    "which is no part of a model. Only tensors, plain containers and the state of "
                    "modules are read; do not open this file with torch.load either."
                )
    if _has_repeating_tuples(program):
        raise UserError(
            "refused, and nothing of it was run: its pickle holds tuples in tuples again and "
            "again, which is no part of a model."
        )
    return classes


def _has_repeating_tuples(program: bytes) -> bool:
    """Has a tuple more parts than the pickle has bytes? Only by holding others several times can
    it, whose parts count as often as they are held, for the hash of a tuple takes as many steps.

    Nothing is unpickled: a number of parts stands for each value on the stack.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[int, int] = {}
    for opcode, argument, _ in pickletools.genops(program):
        name, before = opcode.name, opcode.stack_before
        if name == "MARK":
            marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            to_mark = pickletools.markobject in before
            bottom = marks.pop() if to_mark else len(stack) - len(before)
            parts = 1 + sum(stack[bottom:]) if name.startswith("TUPLE") else 1
            if parts > len(program):
                return True
            del stack[bottom - (before.index(pickletools.markobject) if to_mark else 0) :]
            stack += [parts] * len(opcode.stack_after)
    return False


def _named_tensors(root: Inert) -> dict[str, torch.Tensor]:
    """Parameters and buffers of a module and the modules in it, by their full names."""
    tensors: dict[str, torch.Tensor] = {}
    waiting, count = [("", root)], 0
    while waiting:
        prefix, module = waiting.pop()
        parts = [vars(module).get(key, {}) for key in ("_parameters", "_buffers", "_modules")]
        names = [prefix, *(f"{prefix}{name}" for part in (vars(module), *parts) for name in part)]
        count += len(names)
        if count > _MAX_PARTS or any(not n.isprintable() or len(n) > _MAX_NAME for n in names):
            raise UserError(f"{limit(prefix or CLASS)} is no module of PyTorch.")
        for name, value in (entry for part in parts for entry in part.items()):
            if isinstance(value, torch.Tensor):
                tensors[f"{prefix}{name}"] = value
            elif isinstance(value, Inert):
                waiting.append((f"{prefix}{name}.", value))
    return tensors


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Plain values; of others the type, for lists in lists in lists might never end."""
    plain = (type(None), bool, int, float, str)
    return {k: v if type(v) in plain else f"<{type(v).__name__}>" for k, v in values.items()}


def _describe(root: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What the reader makes a ReleasedModel of: a table for JSON, and dense tensors."""
    class_name, state = type(root).__name__, getattr(root, "__dict__", {})
    if not isinstance(root, Inert) or class_name.rpartition(".")[2] != CLASS:
        raise UserError(
            f"holds a {limit(class_name)}. It must hold a whole {CLASS} module, as the published "
            "pretrain.py saves it with torch.save(model)."
        )
    if not isinstance(config := state.get("config"), Inert):
        raise UserError("the module has no T5 configuration ('config').")
    named, sparse, tensors = _named_tensors(root), {}, {}
    own = {k: v for k, v in state.items() if k[0] != "_" and k not in ("training", "config")}
    for name, value in own.items():  # ELMRec's graph is a plain attribute
        if isinstance(value, torch.Tensor) and value.layout != torch.strided:
            named[name] = value
    for name, tensor in named.items():
        parts = {name: tensor.detach()}
        if tensor.is_sparse:
            sparse[name] = list(tensor.shape)
            parts = {f"{name}:indices": tensor._indices(), f"{name}:values": tensor._values()}
        for part, dense in parts.items():  # cloned: safetensors takes no shared memory
            tensors[part] = dense.clone(memory_format=torch.contiguous_format)
    tables = {"config": _plain(vars(config)), "attributes": _plain(own), "sparse": sparse}
    return {"class_name": class_name, **tables}, tensors


def main(path: str, folder: str, memory: str, seconds: str) -> None:
    """Write found.json and tensors.safetensors, or exit with the reason in the last line."""
    torch.set_num_threads(1)  # each thread takes address space
    _set_limits(int(memory), int(seconds))
    try:
        stubs = [(type(name, (Inert,), {}), name) for name in inert_classes(path)]
        with torch.serialization.safe_globals(stubs):
            # mmap: each storage is a slice of the file, so none is larger.
            root = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        found, tensors = _describe(root)
        save_file(tensors, f"{folder}/tensors.safetensors")
        Path(folder, "found.json").write_text(json.dumps(found), encoding="utf-8")
    except Exception as error:  # a broken file can fail in any way
        cause = error.__context__ or error  # torch hides it behind advice to run the file
        damaged = "damaged, cut short, no file of torch.save, or more than the memory can hold "
        damaged += f"({type(cause).__name__}: {limit(str(cause), 200)}). Fetch it again."
        print(error if isinstance(error, UserError) else damaged, file=sys.stderr, flush=True)
        os._exit(1)  # without a word more, as it may come to in a full memory


if __name__ == "__main__":
    main(*sys.argv[1:])
