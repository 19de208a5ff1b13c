"""Reads tensors from a checkpoint of PyTorch, without PyTorch and without running code.

A pickle is a program. This reader resolves only the names of dicts, tensors and storage types, and refuses every other
name before it is imported.

Reference: https://github.com/pytorch/pytorch/blob/main/torch/serialization.py (legacy and zip format).
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar

import numpy as np

from transferkit.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_BFLOAT16 = "BFloat16Storage"
_DTYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    _BFLOAT16: np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# Names under which training scripts keep the state of the model, the preferred ones first.
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")


class _Tensor:
    """The description of a tensor, before its values are read."""

    def __init__(self, storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler of dicts and tensor descriptions that refuses everything else."""

    _KNOWN: ClassVar[dict[tuple[str, str], Callable[..., Any] | str]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        **{("torch", name): name for name in _DTYPES},
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
    """Return the tensors of a state dict by name.

    It may be nested in a dict under "state_dict", "model" or their moving averages, and its names may start with
    "module.".

    Raises:
        WeightsError: if the file contains anything else; no code from it is run.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read_zip(archive)
        with open(path, "rb") as file:
            return _read(file)
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        AttributeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        struct.error,
    ) as error:
        received = f"{os.fspath(path)!r}: {error}"
        raise WeightsError(f"A weights file must contain only tensors. Received: {received}. Replace it.") from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if _RestrictedUnpickler(file).load() != _MAGIC or _RestrictedUnpickler(file).load() != 1001:
        raise ValueError("it is not in PyTorch's legacy format")
    if not _RestrictedUnpickler(file).load().get("little_endian"):
        raise ValueError("its values are big-endian")
    contents, keys = _RestrictedUnpickler(file).load(), _RestrictedUnpickler(file).load()
    described = {tensor.storage[0]: tensor.storage for tensor in _all_tensors(contents)}
    storages = {key: _read_storage(file, described[key]) for key in keys}
    return {name: _array(tensor, storages[tensor.storage[0]]) for name, tensor in _state_dict(contents).items()}


def _read_zip(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """Return the tensors of an archive with one pickle, and a file of values per storage."""
    (pickled,) = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
    folder = pickled.rpartition("/")[0]
    if f"{folder}/byteorder" in archive.namelist() and archive.read(f"{folder}/byteorder") != b"little":
        raise ValueError("its values are big-endian")
    tensors = _state_dict(_RestrictedUnpickler(io.BytesIO(_stored(archive, pickled))).load())
    storages: dict[str, np.ndarray] = {}
    for tensor in tensors.values():
        key, storage, count = tensor.storage
        if key not in storages:
            data = _stored(archive, f"{folder}/data/{key}")
            storages[key] = _values(data, storage, count)
    return {name: _array(tensor, storages[tensor.storage[0]]) for name, tensor in tensors.items()}


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the bytes of a member, which PyTorch does not compress: a small file cannot become a large one."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"its part {name!r} is compressed")
    return archive.read(name)


def _all_tensors(contents: Any) -> list[_Tensor]:
    if isinstance(contents, Mapping):
        return [tensor for value in contents.values() for tensor in _all_tensors(value)]
    if isinstance(contents, (list, tuple)):
        return [tensor for value in contents for tensor in _all_tensors(value)]
    return [contents] if isinstance(contents, _Tensor) else []


def _state_dict(contents: Any) -> dict[str, _Tensor]:
    if not isinstance(contents, Mapping):
        raise ValueError(f"it is a {type(contents).__name__} and not a state dict")
    for name in _NESTED:
        if isinstance(contents.get(name), Mapping):
            return _state_dict(contents[name])
    tensors = {str(name): value for name, value in contents.items() if isinstance(value, _Tensor)}
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, description: tuple[str, str, int]) -> np.ndarray:
    _key, storage, count = description
    if struct.unpack("<q", file.read(8))[0] != count:
        raise ValueError("the length of a storage differs from its description")
    return _values(file.read(count * _DTYPES[storage].itemsize), storage, count)


def _values(data: bytes, storage: str, count: int) -> np.ndarray:
    dtype = _DTYPES[storage]
    if len(data) != count * dtype.itemsize:
        raise EOFError("it is truncated")
    values = np.frombuffer(data, dtype)
    # The first 16 bits of a float32.
    return (values.astype("<u4") << 16).view("<f4") if storage == _BFLOAT16 else values


def _array(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides))
    if min(tensor.offset, *tensor.strides, *tensor.shape, 0) < 0 or (0 not in tensor.shape and last >= len(storage)):
        raise ValueError("a tensor exceeds its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.array(view)
