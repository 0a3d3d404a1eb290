"""Our safetensors files, read by the library."""

import io

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from utils.tensor_files import _DTYPES, write_tensors

SHAPES = [(), (0,), (3,), (2, 0, 4), (5, 7)]


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """One of each kind of numbers and shape."""
    generator = torch.Generator().manual_seed(0)
    return {
        f"{str(dtype)[6:]} {shape}": (torch.randn(shape, generator=generator) * 9).to(dtype)
        for dtype in _DTYPES
        for shape in SHAPES
    }


def test_the_library_reads_what_was_written(tensors, tmp_path) -> None:
    with (tmp_path / "x").open("wb") as file:
        write_tensors(file, tensors, {"step": "3", "a": "ü"})
    with safe_open(tmp_path / "x", framework="pt") as found:
        assert found.metadata() == {"step": "3", "a": "ü"}
        assert set(found.keys()) == set(tensors)
        for name, tensor in tensors.items():
            assert torch.equal(found.get_tensor(name), tensor)
            assert found.get_tensor(name).dtype == tensor.dtype


def test_same_tensors_same_bytes(tensors) -> None:
    """And as many as the library writes: nothing lies between the tensors."""
    files = [io.BytesIO(), io.BytesIO()]
    write_tensors(files[0], tensors, {"b": "1", "a": "2"})
    write_tensors(files[1], dict(reversed(tensors.items())), {"a": "2", "b": "1"})
    assert files[0].getvalue() == files[1].getvalue()
    assert len(files[0].getvalue()) == len(save(tensors, {"b": "1", "a": "2"}))


def test_no_metadata() -> None:
    file = io.BytesIO()
    write_tensors(file, {"x": torch.arange(3)})
    assert torch.equal(load(file.getvalue())["x"], torch.arange(3))
