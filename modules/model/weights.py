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
from transformers import T5Config

from modules.model.config import CONFIG_FILE, ELMRecConfig, own_config
from modules.model.t5_config import T5Numbers
from utils.console import printable
from utils.errors import UserError, limit
from utils.files import MISSING, check_file, read_file, readable, whole_file, write_text
from utils.json_files import MAX_FILE, check_type, parse_json, to_json
from utils.tensor_files import as_bytes, write_tensors

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
# Of tensors that a model may have. The graph's are int64, all others are stored in full precision;
# a file of another program may hold halves.
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64)
_MAX_HEADER = 1 << 22  # bytes; the largest T5 has 1,000 tensors, of 100 bytes each


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
        digest.update(as_bytes(tensor))
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
    with whole_file(folder / WEIGHTS_FILE) as file:
        write_tensors(file, state, {"format": "pt", **metadata, **checksums})
    write_text(folder / CONFIG_FILE, text)


def read_metadata(folder: Path) -> dict[str, str]:
    """What is said with the weights: of which run and step they are.

    Raises:
        UserError: naming the file, where it is missing or damaged.
    """
    path = folder / WEIGHTS_FILE
    _check_header(path)
    with readable(str(path)), safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def _check_header(path: Path) -> None:
    """UserError where the file is none, or its header would take more memory than any model's."""
    check_file(path, MISSING)
    with readable(str(path)), path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _MAX_HEADER:
        raise UserError(
            f"{path}: cannot be read, damaged or cut short as it seems (its header would have "
            f"{size:,} bytes)."
        )


def read_model(folder: Path) -> tuple[T5Config, ELMRecConfig, dict[str, torch.Tensor]]:
    """Read both files and compare them with their checksums.

    Returns:
        T5's configuration, the method's, and the tensors.

    Raises:
        UserError: naming the file, where one is missing, damaged, or was changed.
    """
    config_path, weights_path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    content = read_file(config_path, MISSING, MAX_FILE)
    table = parse_json(config_path, content)
    own = own_config(config_path, table)
    numbers = check_type(config_path, table, T5Numbers)
    _check_header(weights_path)
    with readable(str(weights_path)), safe_open(weights_path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 no mapping
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise UserError(
                f"{weights_path}: {limit(name)} is of {tensor.dtype}, which no model here has. "
                "Copy the folder anew from where it came, or train again."
            )
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
                f"{weights_path}: {limit(name)} holds numbers that are infinite or not a number "
                "(NaN). The training failed, or the file is damaged."
            )
    _check_sizes(config_path, numbers, own, tensors)
    with readable(str(config_path)):
        return numbers.config(), own, tensors


def _check_sizes(
    path: Path, numbers: T5Numbers, own: ELMRecConfig, tensors: Mapping[str, torch.Tensor]
) -> None:
    """UserError where config.json says more than the weights hold: before any of it is made."""
    if numbers.num_layers + numbers.decoder_layers > len(tensors):  # a layer has several
        raise UserError(
            f"{path}: {numbers.num_layers} + {numbers.decoder_layers} layers, of which "
            f"{WEIGHTS_FILE} holds {len(tensors)} tensors."
        )
    embedding = tensors.get(_TIED[0])
    wanted = (numbers.vocab_size, numbers.d_model)
    if embedding is not None and tuple(embedding.shape) != wanted:
        raise UserError(
            f"{path.parent / WEIGHTS_FILE} does not fit {CONFIG_FILE}: {_TIED[0]} is "
            f"{tuple(embedding.shape)}, not {wanted}. The two are of different models, or one was "
            "changed."
        )


def check_fit(
    folder: Path, expected: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]
) -> None:
    """UserError where tensors are missing, left over, or of another shape or kind than expected.

    expected: by the names of the file; the values do not count, so that they may be on "meta".
    """
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    faults += [f"{printable(name)[:60]} is left over" for name in tensors if name not in expected]
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
