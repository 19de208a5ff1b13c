"""Reads a model in Keras' format without running code from it, and without more memory than its file explains."""

from __future__ import annotations

import contextlib
import io
import math
import threading
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import keras

# Far above the size of the configuration of any real model.
_MAX_CONFIG_BYTES = 64 << 20
_WEIGHT_GROUPS = ("layers/", "vars/")
# Weights that are not in the file, such as the states of random generators.
_SPARE_BYTES = 16 << 20
_LOADING = threading.RLock()


def read_model(path: Path) -> keras.Model:
    """Return the model in a .keras file, without compiling it.

    Raises:
        ValueError: when the file is damaged, has code, or describes a model that is not the one of its weights.
    """
    try:
        size = path.stat().st_size
        _check_members(path, size)
        with _weights_limited_to(2 * size + _SPARE_BYTES), warnings.catch_warnings():
            # Keras only warns of layers without weights in the file, and leaves them with random ones.
            warnings.filterwarnings("error", module=r"keras\.src\.saving")
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Keras, h5py and layers raise errors of many kinds for a damaged or hostile file.
        raise ValueError(str(error) or type(error).__name__) from error


def check_weights_are_saved(path: Path, model: keras.Model) -> None:
    """Raise a ValueError when the .keras file of `model` lacks weights.

    Keras 3.8 leaves out those of layers in lists of lists, and loads random ones without a warning.
    """
    names: list[str] = []

    def add_weight(name: str, item: Any) -> None:
        # Next to the weights are the states of the optimizer, of metrics and of random generators.
        if isinstance(item, h5py.Dataset) and name.startswith(_WEIGHT_GROUPS) and "seed_generator" not in name:
            names.append(name)

    with zipfile.ZipFile(path) as archive:
        # In memory: inside the archive, each step back would read it from its start.
        contents = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(contents, "r") as weights:
        weights.visititems(add_weight)
    expected = len({id(weight) for weight in model.weights})
    if len(names) < expected:
        raise ValueError(
            f"This version of Keras must save each weight of {model.name!r}. Received: {len(names)} of {expected} in "
            "the file. Keep the layers of your classes in lists, not in lists of lists, or install a newer Keras."
        )


def _check_members(path: Path, size: int) -> None:
    """Raise a ValueError when the contents are larger than the file; Keras does not compress them."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        largest = max((member.file_size for member in members if member.filename.endswith(".json")), default=0)
        if largest > _MAX_CONFIG_BYTES:
            raise ValueError(f"the configuration has {largest:,} bytes")
        unpacked = sum(member.file_size for member in members)
        if unpacked > size + _SPARE_BYTES:
            raise ValueError(f"it unpacks to {unpacked:,} bytes")


@contextlib.contextmanager
def _weights_limited_to(limit: int) -> Iterator[None]:
    """Raise a ValueError when layers that this thread creates inside the context need more than `limit` bytes."""
    add_weight, thread = keras.layers.Layer.add_weight, threading.get_ident()
    total = 0

    def add_limited(layer: Any, shape: Any = None, *args: Any, **kwargs: Any) -> Any:
        nonlocal total
        if threading.get_ident() == thread:
            total += 4 * math.prod(shape if isinstance(shape, (tuple, list)) else [shape or 1])
            if total > limit:
                raise ValueError(f"the layer {layer.name!r} needs more memory than the weights in the file have")
        return add_weight(layer, shape, *args, **kwargs)

    # Two threads must not replace the method in each other's context.
    with _LOADING, mock.patch.object(keras.layers.Layer, "add_weight", add_limited):
        yield
