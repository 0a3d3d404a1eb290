"""Safetensors files, written from the tensors' own memory.

The library's ``save`` holds all bytes twice beside the tensors: of a million items, twelve
gigabytes. It also writes the metadata in an order of chance, so that the same tensors would be
other bytes each time. The format: the header's length in 8 bytes, the header as JSON, the tensors,
at offsets that are counted from the header's end. Its length is a multiple of 8, filled up with
blanks.
"""

import json
from collections.abc import Mapping
from typing import BinaryIO

import torch

_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def as_bytes(tensor: torch.Tensor) -> memoryview:
    """The values of a contiguous tensor on the CPU, not copied."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def write_tensors(
    file: BinaryIO, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write contiguous tensors on the CPU, and texts about them."""
    # Wide numbers first: each then lies at a multiple of its width.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    table: dict = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + tensor.nbytes
        shape = list(tensor.shape)
        table[name] = {
            "dtype": _DTYPES[tensor.dtype], "shape": shape, "data_offsets": [start, end]
        }  # fmt: skip
    header = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    for name in names:
        file.write(as_bytes(tensors[name]))
