"""The released models as their files hold them: a pickled ``Solomon`` module (ELMRec's, POD's).

It knows how such a module is made: T5 subclassed, three more tables, numbers as attributes. What
becomes of it is for modules/released/convert.py.

Another process (modules/released/unpickle.py) opens the file, with limits on memory and time, and
hands over tensors (on the CPU) and plain values. So no file, whatever is in it, can hang this
program or fill its memory. Without the module ``resource`` (Windows) only the timeout holds.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load
from transformers import T5Config, T5ForConditionalGeneration

from utils.errors import UserError, limit
from utils.files import check_file, readable

# What opening a file may take, beyond what a process takes that has imported torch.
MEMORY, SECONDS = 512 << 20, 20  # bytes and CPU seconds, for a file of any size
_MEMORY_PER_BYTE = 10  # the file, its tensors and a copy; one table under four names is four
_BYTES_PER_SECOND = 20 << 20  # a slow machine reads ten times as many
_PATIENCE = 6  # times the CPU seconds, on the clock: slow disks, busy machines, import torch

_MAX_BLOCKS = 200  # of encoder or decoder; T5-11B has 24
_OLD_DISTANCE = 128  # transformers before 4.13 knew no other, and wrote none
# What T5Config needs of the pickled configuration: whole numbers, and others.
_INTS = ["d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads", "pad_token_id"]
_INTS += ["vocab_size", "relative_attention_num_buckets", "eos_token_id", "decoder_start_token_id"]
_FLOATS = ["dropout_rate", "layer_norm_epsilon", "initializer_factor"]


class ReleasedModel(NamedTuple):
    """What a file holds: every tensor by its name in the module, and plain attributes."""

    path: Path
    class_name: str
    tensors: dict[str, torch.Tensor]
    sparse: dict[str, torch.Tensor]  # COO, as the file has them: their indices may be anything
    config: dict[str, Any]  # None, bool, int, float, str; others by their type, as "<list>"
    attributes: dict[str, Any]  # likewise

    def number(self, name: str, whole: bool, low: float, config: bool = False) -> Any:
        """An attribute (or an entry of the configuration) that is a number; None without it."""
        value = (self.config if config else self.attributes).get(name)
        kinds = (int,) if whole else (int, float)
        if value is not None and (type(value) not in kinds or not low <= value <= 1e9):
            raise UserError(
                f"{self.path}: {name} is {limit(value)}; it must be a "
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


def read_released(path: str | Path, memory: int = MEMORY, seconds: int = SECONDS) -> ReleasedModel:
    """Read a file without running anything of it; memory and seconds: see ``MEMORY``.

    Raises:
        UserError: where it is damaged, asks for more than a model needs, or holds no such module.
    """
    path = Path(path)
    check_file(path, "Name a file that torch.save(model) wrote.")
    memory += _MEMORY_PER_BYTE * path.stat().st_size
    seconds += path.stat().st_size // _BYTES_PER_SECOND
    with tempfile.TemporaryDirectory() as made:
        status, reason = _open_elsewhere(path, folder := Path(made), memory, seconds)
        if status < 0:
            reason = f"took over {seconds} s of CPU time or {memory >> 20:,} MiB (signal {-status})"
        if status:
            raise UserError(f"{path}: {reason}")
        with readable(str(path)):
            found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
            tensors = load((folder / "tensors.safetensors").read_bytes())
            sparse = {}
            for name, size in found.pop("sparse").items():
                parts = tensors.pop(f"{name}:indices"), tensors.pop(f"{name}:values")
                sparse[name] = torch.sparse_coo_tensor(*parts, size, check_invariants=False)
    return ReleasedModel(path, tensors=tensors, sparse=sparse, **found)


def _open_elsewhere(path: Path, folder: Path, memory: int, seconds: int) -> tuple[int, str]:
    """Have the other process write into the folder; its exit status and last words."""
    command = [sys.executable, "-m", "modules.released.unpickle", path.absolute(), folder]
    command += [str(memory), str(seconds)]
    root, errors = Path(__file__).parents[2], folder / "errors.txt"
    try:
        with errors.open("wb") as file:
            done = subprocess.run(command, cwd=root, stderr=file, timeout=_PATIENCE * seconds)
    except subprocess.TimeoutExpired:
        return 1, f"took more than {_PATIENCE * seconds} s to open. Try again, or fetch it again."
    return done.returncode, errors.read_text(errors="replace").strip().rpartition("\n")[2]


def _t5_config(released: ReleasedModel) -> T5Config:
    table = {name: released.number(name, name in _INTS, 0, True) for name in (*_INTS, *_FLOATS)}
    for name, value in table.items():
        if value is None:
            raise UserError(f"{released.path}: the T5 configuration has no {name}.")
    kind = released.config.get("feed_forward_proj")
    if kind not in ("relu", "gated-gelu"):
        raise UserError(
            f"{released.path}: feed_forward_proj is {limit(kind)}; it must be relu or gated-gelu."
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
    tied = released.config.get("tie_word_embeddings", True)
    return T5Config(
        **table,
        feed_forward_proj=kind,
        relative_attention_max_distance=distance or _OLD_DISTANCE,
        tie_word_embeddings=released.config.get("scale_decoder_outputs", tied) is True,
    )


def released_t5(released: ReleasedModel) -> T5ForConditionalGeneration:
    """The T5 part; every tensor is held against the configuration before room is made for it."""
    with readable(f"{released.path}, its T5 configuration"), torch.device("meta"):
        config = _t5_config(released)
        shapes = T5ForConditionalGeneration(config).state_dict()
    why = "by the T5 configuration"
    tensors = {name: released.tensor(name, tuple(t.shape), why) for name, t in shapes.items()}
    t5 = T5ForConditionalGeneration(config)
    t5.load_state_dict(tensors)
    for name, loaded in t5.state_dict().items():
        if not torch.equal(loaded, tensors[name]):  # tied weights are one: the last that was read
            raise UserError(
                f"{released.path}: {name} is not the token embedding ('shared'), as in T5 1.1. "
                "Only models that tie them can be imported, as the published ones do."
            )
    return t5.eval()
