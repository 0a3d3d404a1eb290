"""A model folder's two files, config.json and model.safetensors, written and read with checks.

Tensors have here the names of the file: T5's own, and ours after ``elmrec.``. The weights carry
checksums of themselves and of the configuration, so that a changed or damaged file is noticed
before anything is ranked with it. This file knows names and shapes, not the model.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from transformers import T5Config

from utils.errors import UserError, limit
from utils.files import MISSING, check_file, read_file, readable, write_bytes, write_text
from utils.json_files import parse_json, to_json

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PREFIX = "elmrec."  # of our own tensors; all others are T5's, by T5's names
# One embedding under four names; safetensors holds it once, under the first.
_TIED = (
    "shared.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "lm_head.weight",
)
_CHECKSUM, _CONFIG_CHECKSUM = "sha256", "config_sha256"  # entries of the weights' metadata
_SIZES = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads")
_TOKENS = ("pad_token_id", "eos_token_id", "decoder_start_token_id")


def to_file(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's state dict by the names of the file."""
    tensors = {}
    for name, tensor in state.items():
        if not name.startswith("t5."):
            tensors[PREFIX + name] = tensor
        elif (plain := name.removeprefix("t5.")) not in _TIED[1:]:
            tensors[plain] = tensor
    return tensors


def to_model(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inverse of ``to_file``."""
    state = {
        name.removeprefix(PREFIX) if name.startswith(PREFIX) else "t5." + name: tensor
        for name, tensor in tensors.items()
    }
    return state | {"t5." + name: tensors[_TIED[0]] for name in _TIED[1:]}


def _checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of names, shapes and every bit of the values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def write_model(
    folder: Path,
    tensors: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    metadata: Mapping[str, str],
) -> None:
    """Write both files; each is whole or not there at all."""
    state = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    text = to_json(config)
    checksums = {
        _CHECKSUM: _checksum(state),
        _CONFIG_CHECKSUM: hashlib.sha256(text.encode()).hexdigest(),
    }
    write_bytes(folder / WEIGHTS_FILE, save(state, {"format": "pt", **metadata, **checksums}))
    write_text(folder / CONFIG_FILE, text)


def read_model(folder: Path) -> tuple[T5Config, dict[str, Any], dict[str, torch.Tensor]]:
    """Read both files and compare them with their checksums.

    Returns:
        T5's configuration, the entry ``elmrec`` of config.json, and the tensors.

    Raises:
        UserError: naming the file, where one is missing, damaged, or was changed.
    """
    config_path, weights_path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    content = read_file(config_path, MISSING)
    table = parse_json(config_path, content)
    own = table.pop("elmrec", None) if isinstance(table, dict) else None
    if not isinstance(own, dict):
        raise UserError(f"{config_path}: no 'elmrec' entry; this is not a model folder of ELMRec.")
    check_file(weights_path, MISSING)
    with readable(str(weights_path)), safe_open(weights_path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 no mapping
    # A file that another program wrote has no checksums; what else it must be is checked below.
    if metadata.get(_CHECKSUM, "") not in ("", _checksum(tensors)):
        raise UserError(
            f"{weights_path}: damaged, its numbers are not those that were written (checksum). "
            "Copy the folder anew from where it came, or train again."
        )
    if metadata.get(_CONFIG_CHECKSUM, "") not in ("", hashlib.sha256(content).hexdigest()):
        raise UserError(
            f"{config_path}: not the file that was written with {WEIGHTS_FILE} (checksum). Put "
            "the original file back."
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not math.isfinite(tensor.sum(dtype=torch.float64)):
            raise UserError(
                f"{weights_path}: {name!r} holds numbers that are infinite or not a number (NaN). "
                "The training failed, or the file is damaged."
            )
    return _t5_config(config_path, table, len(tensors)), own, tensors


def _t5_config(path: Path, table: dict[str, Any], n_tensors: int) -> T5Config:
    """T5's configuration, its numbers compared with what they count."""
    with readable(str(path)):
        config = T5Config.from_dict(table)
    for keys, low, high in ((_SIZES, 1, 2**31), (_TOKENS, 0, config.vocab_size)):
        for key in keys:
            value = getattr(config, key)
            if type(value) is not int or not low <= value < high:
                raise UserError(
                    f"{path}: {key!r} is {limit(value)}; it must be a whole number "
                    f"from {low} to {high - 1}."
                )
    if config.num_layers + config.num_decoder_layers > n_tensors:  # a layer has several
        raise UserError(
            f"{path}: {config.num_layers} + {config.num_decoder_layers} layers, of which "
            f"{WEIGHTS_FILE} holds {n_tensors} tensors."
        )
    return config


def check_fit(
    folder: Path, expected: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]
) -> None:
    """UserError where tensors are missing, left over, or of another shape or kind than expected.

    expected: by the names of the file; the values do not count, so that they may be on "meta".
    """
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    faults += [f"{name} is left over" for name in tensors if name not in expected]
    for name in expected.keys() & tensors.keys():
        want, have = expected[name], tensors[name]
        if want.shape != have.shape:
            faults.append(f"{name} is {tuple(have.shape)}, not {tuple(want.shape)}")
        elif want.is_floating_point() != have.is_floating_point():
            faults.append(f"{name} is of {have.dtype}, not {want.dtype}")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UserError(
            f"{folder / WEIGHTS_FILE} does not fit {CONFIG_FILE}: {'; '.join(sorted(faults)[:3])}"
            f"{more}. The two are of different models, or one was changed."
        )
