"""Reading tensors out of a file of torch's old format, without torch and without running what a pickle could hide.

A pickle is a program. The reader here gives it four words to use (an ordered dict, a tensor's description and two
kinds of number) and refuses every other before it is looked up.

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
_KINDS: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor:
    """What a file says of a tensor before its numbers are read."""

    def __init__(self, storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler for which nothing exists but ordered dicts and descriptions of tensors."""

    _KNOWN: ClassVar[dict[tuple[str, str], Callable[..., Any] | str]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
        ("torch", "FloatStorage"): "FloatStorage",
        ("torch", "LongStorage"): "LongStorage",
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> tuple[str, str, int]:
        kind, storage, key, _device, count, *_view = pid
        if kind != "storage" or storage not in _KINDS:
            raise pickle.UnpicklingError(f"it holds a {storage!r}")
        return str(key), storage, int(count)


def load_torch_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the tensors of a file, by name.

    Args:
        path: a file of torch's old (not zipped) format that holds a dict of float and integer tensors.

    Raises:
        WeightsError: when it is anything else; nothing in it is run.
    """
    try:
        with open(path, "rb") as file:
            return _read(file)
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, struct.error) as error:
        raise WeightsError(
            f"A weights file must hold tensors and nothing else. Received: {os.fspath(path)!r}: {error}. Get it again."
        ) from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if _RestrictedUnpickler(file).load() != _MAGIC or _RestrictedUnpickler(file).load() != 1001:
        raise ValueError("it is no file of torch's old format")
    if not _RestrictedUnpickler(file).load().get("little_endian"):
        raise ValueError("its numbers are big-endian")
    described, keys = _RestrictedUnpickler(file).load(), _RestrictedUnpickler(file).load()
    tensors = {name: value for name, value in described.items() if isinstance(value, _Tensor)}
    kinds = {tensor.storage[0]: tensor.storage for tensor in tensors.values()}
    storages = {key: _storage(file, kinds[key]) for key in keys}
    return {name: _array(tensor, storages[tensor.storage[0]]) for name, tensor in tensors.items()}


def _storage(file: BinaryIO, described: tuple[str, str, int]) -> np.ndarray:
    _key, storage, count = described
    kind = _KINDS[storage]
    if struct.unpack("<q", file.read(8))[0] != count:
        raise ValueError("a storage has another length than its description")
    data = file.read(count * kind.itemsize)
    if len(data) != count * kind.itemsize:
        raise EOFError("it is truncated")
    return np.frombuffer(data, kind)


def _array(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides))
    if min(tensor.offset, *tensor.strides, *tensor.shape, 0) < 0 or (0 not in tensor.shape and last >= len(storage)):
        raise ValueError("a tensor reaches beyond its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.array(view)
