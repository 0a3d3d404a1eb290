"""The released models as their files hold them: a pickled ``Solomon`` module (ELMRec's, POD's).

It knows how such a module is made: T5 subclassed, three more tables, numbers as attributes. What
becomes of it is for modules/released/convert.py.

No file is given to torch as it is. Its pickle is checked (modules/released/pickle_check.py), and
goes with the storages that it names into a new archive in memory, which torch.load reads: so torch
sees just what was checked. Files may come from a GPU; all tensors end up on the CPU.
"""

import io
import mmap
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from transformers import T5Config, T5ForConditionalGeneration

from modules.released.pickle_check import CLASS, OLD_ID, Checked, check_pickle
from utils.errors import UserError, limit
from utils.files import check_file, readable

ZIP_HEAD = b"PK\x03\x04"  # PyTorch 1.6 and later; before, pickles and raw numbers end to end
OLD_MAGIC, OLD_VERSION = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of those

_MAX_PARTS = 100_000  # modules, parameters, buffers; T5-11B has some thousands, a cycle no end
_MAX_NAME = 1_000  # characters of a tensor's full name
_MAX_BLOCKS = 200  # of encoder or decoder; T5-11B has 24
_MAX_GROWTH = 8  # times the file: float16 made float32, and one table under four names

# What T5Config needs of the pickled configuration: (names, whole numbers, at least).
_NUMBERS = (
    (("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers"), True, 1),
    (("num_heads", "relative_attention_num_buckets"), True, 1),
    (("dropout_rate", "layer_norm_epsilon", "initializer_factor"), False, 0),
    (("pad_token_id", "eos_token_id", "decoder_start_token_id"), True, 0),
)
# Not in configurations of before transformers 4.13, which knew this one distance.
_OLD_DISTANCE = 128


class Record:
    """An object of an inert class: its state, and nothing that could be run."""

    __slots__ = ("state",)
    class_name = ""  # "module.Class"; each class of the file has a Record class of its own

    def __new__(cls, *_: object) -> "Record":
        record = super().__new__(cls)
        record.state = {}
        return record

    def __setstate__(self, state: dict) -> None:
        self.state = state


def old_id(kind: str, first: Any, *rest: Any) -> Any:
    """The class, or the id without its last part, that PyTorch since 1.6 has instead."""
    return first if kind == "module" else (kind, first, *rest[:3])


def _archive(checked: Checked, numbers: Callable[[str], bytes]) -> io.BytesIO:
    """A file of torch.save with that pickle; ``numbers`` gives the content of a storage."""
    clean = io.BytesIO()
    with zipfile.ZipFile(clean, "w") as archive:
        for name, text in {"data.pkl": checked.program, "version": "3"}.items():
            archive.writestr(f"archive/{name}", text)
        for key, storage in checked.storages.items():
            content = numbers(key)
            if len(content) != storage.nbytes:
                raise ValueError(f"storage {key} is not of {storage.count} {storage.type_name}")
            archive.writestr(f"archive/data/{key}", content)
    clean.seek(0)
    return clean


def _from_zip(path: Path, file: BinaryIO) -> tuple[Checked, io.BytesIO]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("an entry is compressed, as torch.save never writes it")
        if sum(max(e.file_size, e.compress_size) for e in entries) > path.stat().st_size:
            raise ValueError("its entries are larger than the file")
        names = [entry.filename for entry in entries]
        found = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(found) != 1:
            raise ValueError("no data.pkl inside, or more than one")
        base = found[0].removesuffix("data.pkl")
        if base + "byteorder" in names and archive.read(base + "byteorder") != b"little":
            raise ValueError("numbers in big-endian order")
        checked = check_pickle(io.BytesIO(archive.read(found[0])), path)
        return checked, _archive(checked, lambda key: archive.read(f"{base}data/{key}"))


def _from_old(path: Path, file: BinaryIO) -> tuple[Checked, io.BytesIO]:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        magic, version = check_pickle(content, path).value, check_pickle(content, path).value
        if magic != OLD_MAGIC or version != OLD_VERSION:
            raise ValueError("no mark of torch.save")
        check_pickle(content, path)  # sizes of C types on the machine that wrote it
        checked, keys = check_pickle(content, path), check_pickle(content, path).value
        if type(keys) is not list or any(type(key) is not str for key in keys):
            raise ValueError("no list of storages")
        places: dict[str, slice] = {}
        for key in keys:
            storage = checked.storages[key]
            count, start = content.read(8), content.tell()
            end = start + storage.nbytes
            if count != struct.pack("<q", storage.count) or end > len(content):
                raise ValueError(f"storage {key} of {storage.count} numbers is not all there")
            places[key] = slice(start, end)
            content.seek(end)
        return checked, _archive(checked, lambda key: content[places[key]])


def read_torch_file(path: str | Path) -> Any:
    """What ``torch.save`` wrote: plain containers and numbers, tensors on the CPU, ``Record``s.

    Args:
        path: a file of any PyTorch since 0.4 under Python 3 (the older tar format is refused).

    Raises:
        UserError: where the file asks for anything else, naming it; or is damaged.
    """
    path = Path(path)
    check_file(path, "Name a file that torch.save(model) wrote.")
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(ZIP_HEAD)) == ZIP_HEAD
            checked, clean = (_from_zip if is_zip else _from_old)(path, file)
        inert: list[tuple[Any, str]] = [(old_id, OLD_ID)]
        for name in checked.classes:
            inert.append((type("Record", (Record,), {"__slots__": (), "class_name": name}), name))
        with torch.serialization.safe_globals(inert):
            return torch.load(clean, map_location="cpu", weights_only=True, mmap=False)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # a broken pickle can fail in any way
        raise UserError(
            f"{path}: damaged, cut short, or no file of torch.save "
            f"({type(error).__name__}: {limit(str(error), 200)}). Fetch it again."
        ) from error


class ReleasedModel(NamedTuple):
    """What a file holds: every tensor by its name in the module, and plain attributes."""

    path: Path
    class_name: str
    tensors: dict[str, torch.Tensor]
    sparse: dict[str, torch.Tensor]  # COO, as the file has them: their indices may be anything
    config: dict[str, Any]
    attributes: dict[str, Any]

    def number(self, name: str, whole: bool, low: float, config: bool = False) -> Any:
        """An attribute (or an entry of the configuration) that is a number; None without it."""
        value = (self.config if config else self.attributes).get(name)
        kinds = (int,) if whole else (int, float)
        if value is not None and (type(value) not in kinds or not low <= value <= 1e9):
            raise UserError(
                f"{self.path}: {name} is {_shown(value)}; it must be a "
                f"{'whole ' if whole else ''}number from {low:g} to 1e9."
            )
        return value

    def tensor(self, name: str, shape: tuple[int, ...], why: str) -> torch.Tensor:
        """A tensor of that shape, float32 and finite; UserError where the file's is not."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise UserError(f"{self.path}: the module has no {name}.")
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise UserError(
                f"{self.path}: {name} is {tuple(tensor.shape)} of {tensor.dtype}; it must be "
                f"{shape} of floating-point numbers ({why})."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{self.path}: {name} holds values that are not finite.")
        return tensor.float()


def _shown(value: Any) -> str:
    """A value of a file, for an error: of lists in lists in lists, the text might never end."""
    return limit(value) if type(value) in (str, int, float, bool) else f"a {type(value).__name__}"


def read_released(path: str | Path) -> ReleasedModel:
    """Read a file without running anything of it.

    Raises:
        UserError: where it asks for something to be run, is damaged, or holds no such module.
    """
    path = Path(path)
    root = read_torch_file(path)
    name = root.class_name if isinstance(root, Record) else type(root).__name__
    if name.rpartition(".")[2] != CLASS:
        raise UserError(
            f"{path}: holds a {limit(name)}. It must hold a whole {CLASS} module, as the published "
            "pretrain.py saves it with torch.save(model)."
        )
    config = root.state.get("config")
    if not isinstance(config, Record):
        raise UserError(f"{path}: the module has no T5 configuration ('config').")
    found = _named_tensors(path, root)
    attributes = {
        key: value.detach() if isinstance(value, torch.Tensor) else value
        for key, value in root.state.items()
        if not key.startswith("_") and key not in ("training", "config")
    }
    sparse = {n: v for n, v in (attributes | found).items() if torch.is_tensor(v) and v.is_sparse}
    tensors = {n: v for n, v in found.items() if not v.is_sparse}
    return ReleasedModel(path, name, tensors, sparse, config.state, attributes)


def _is_name(name: Any) -> bool:
    return type(name) is str and len(name) <= _MAX_NAME and name.isprintable()


def _named_tensors(path: Path, root: Record) -> dict[str, torch.Tensor]:
    """Parameters and buffers of a module and the modules in it, by their full names."""
    tensors: dict[str, torch.Tensor] = {}
    waiting, count = [("", root)], 0
    while waiting:
        prefix, module = waiting.pop()
        parts = [module.state.get(key, {}) for key in ("_parameters", "_buffers", "_modules")]
        known = all(isinstance(part, dict) for part in parts) and len(prefix) <= _MAX_NAME
        names = [name for part in (module.state, *parts) for name in part] if known else [None]
        count += len(names)
        if count > _MAX_PARTS or not all(map(_is_name, names)):
            raise UserError(f"{path}: {limit(prefix or CLASS)} is no module of PyTorch.")
        for name, value in (*parts[0].items(), *parts[1].items()):
            if isinstance(value, torch.Tensor):
                tensors[f"{prefix}{name}"] = value.detach()
        for name, child in parts[2].items():
            if isinstance(child, Record):
                waiting.append((f"{prefix}{name}.", child))
    return tensors


def _t5_config(released: ReleasedModel) -> T5Config:
    table: dict[str, Any] = {}
    for names, whole, low in _NUMBERS:
        for name in names:
            table[name] = released.number(name, whole, low, config=True)
            if table[name] is None:
                raise UserError(f"{released.path}: the T5 configuration has no {name}.")
    kind = released.config.get("feed_forward_proj")
    if kind not in ("relu", "gated-gelu"):
        raise UserError(
            f"{released.path}: feed_forward_proj is {_shown(kind)}; it must be relu or gated-gelu."
        )
    for side, name in (("encoder", "num_layers"), ("decoder", "num_decoder_layers")):
        blocks = {n.split(".")[2] for n in released.tensors if n.startswith(f"{side}.block.")}
        if len(blocks) != table[name] or len(blocks) > _MAX_BLOCKS:
            raise UserError(
                f"{released.path}: {name} is {table[name]}, but the {side} has {len(blocks)} "
                f"blocks. They must be as many, and not more than {_MAX_BLOCKS}."
            )
    distance = released.number("relative_attention_max_distance", True, 1, config=True)
    # Whether the decoder's states are scaled; before version 5 a tied output layer said so.
    scaled = released.config.get(
        "scale_decoder_outputs", released.config.get("tie_word_embeddings", True)
    )
    return T5Config(
        **table,
        feed_forward_proj=kind,
        relative_attention_max_distance=distance or _OLD_DISTANCE,
        tie_word_embeddings=scaled is True,
    )


def released_t5(released: ReleasedModel) -> T5ForConditionalGeneration:
    """The T5 part; every tensor is held against the configuration before room is made for it."""
    with readable(f"{released.path}, its T5 configuration"), torch.device("meta"):
        config = _t5_config(released)
        shapes = T5ForConditionalGeneration(config).state_dict()
    tensors = {}
    room = _MAX_GROWTH * released.path.stat().st_size
    for name, expected in shapes.items():
        tensors[name] = released.tensor(name, tuple(expected.shape), "by the T5 configuration")
        room -= 4 * expected.numel()
        if room < 0:
            raise UserError(
                f"{released.path}: its tensors are more than the file can hold: many of them must "
                "be the same numbers. Fetch it again."
            )
    t5 = T5ForConditionalGeneration(config)
    t5.load_state_dict(tensors)
    for name, loaded in t5.state_dict().items():
        if not torch.equal(loaded, tensors[name]):  # tied weights are one: the last that was read
            raise UserError(
                f"{released.path}: {name} is not the token embedding ('shared'), as in T5 1.1. "
                "Only models that tie them can be imported, as the published ones do."
            )
    return t5.eval()
