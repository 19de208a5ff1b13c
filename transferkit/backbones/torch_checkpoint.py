"""Reads tensors from a checkpoint in PyTorch's legacy format, without PyTorch and without running code.

A pickle is a program. This reader resolves only four names (an ordered dict, a tensor and two storage types) and
refuses every other name before it is imported.

Reference: https://github.com/pytorch/pytorch/blob/main/torch/serialization.py (legacy format).
"""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import numpy as np

from transferkit.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor:
    """The description of a tensor, before its values are read."""

    def __init__(self, storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler of ordered dicts and tensor descriptions that refuses everything else."""

    _KNOWN: ClassVar[dict[tuple[str, str], Callable[..., Any] | str]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
        ("torch", "FloatStorage"): "FloatStorage",
        ("torch", "LongStorage"): "LongStorage",
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return self._KNOWN[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str, int]:
        kind, storage, key, _device, count, *_view = pid
        if kind != "storage" or storage not in _DTYPES:
            raise pickle.UnpicklingError(f"it contains a {storage!r}")
        return str(key), storage, int(count)


def load_torch_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the float32 and int64 tensors of a legacy (not zipped) checkpoint by name.

    Raises:
        WeightsError: if the file contains anything else; no code from it is run.
    """
    try:
        with open(path, "rb") as file:
            return _read(file)
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, struct.error) as error:
        received = f"{os.fspath(path)!r}: {error}"
        raise WeightsError(f"A weights file must contain only tensors. Received: {received}. Replace it.") from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if _RestrictedUnpickler(file).load() != _MAGIC or _RestrictedUnpickler(file).load() != 1001:
        raise ValueError("it is not in PyTorch's legacy format")
    if not _RestrictedUnpickler(file).load().get("little_endian"):
        raise ValueError("its values are big-endian")
    descriptions, keys = _RestrictedUnpickler(file).load(), _RestrictedUnpickler(file).load()
    tensors = {name: value for name, value in descriptions.items() if isinstance(value, _Tensor)}
    described = {tensor.storage[0]: tensor.storage for tensor in tensors.values()}
    storages = {key: _read_storage(file, described[key]) for key in keys}
    return {name: _array(tensor, storages[tensor.storage[0]]) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, description: tuple[str, str, int]) -> np.ndarray:
    _key, storage, count = description
    dtype = _DTYPES[storage]
    if struct.unpack("<q", file.read(8))[0] != count:
        raise ValueError("the length of a storage differs from its description")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise EOFError("it is truncated")
    return np.frombuffer(data, dtype)


def _array(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides))
    if min(tensor.offset, *tensor.strides, *tensor.shape, 0) < 0 or (0 not in tensor.shape and last >= len(storage)):
        raise ValueError("a tensor exceeds its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.array(view)
