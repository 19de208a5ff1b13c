"""What a checkpoint belongs to: everything that decides the weights at the end of a phase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from transferkit._utils.cores import tensorflow_threads
from transferkit._utils.hashing import content_hash, fingerprint
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.modeling.fingerprint import training_fingerprint

# Begins the values that stand for contents, which are not shown.
_DIGEST = "digest:"


def run_identity(model: keras.Model, data: Data, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of a phase: its options, the data and the model that is to be trained.

    Images and labels are compared by their contents and order, except those of a tf.data.Dataset, of which only the
    element spec and the number of batches are known.
    """
    identity = {
        **options,
        "batch_size": data.batch_size,
        "class_names": list(data.class_names),
        "image_spec": data.image_spec.cache_key(),
        # Another number of threads adds in another order.
        "threads": tensorflow_threads(),
    }
    for name, split in data.splits.items():
        # Test images do not take part in training.
        if name != "test":
            identity[f"{name} images"] = _DIGEST + _images(split)
            identity[f"{name} labels"] = _DIGEST + _array(split.labels)
            if split.weights is not None:
                identity[f"{name} sample weights"] = _DIGEST + _array(split.weights)
    return {**identity, "model": _DIGEST + training_fingerprint(model)}


def describe_differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Return which values of two identities differ, or "" if none does."""
    names = [name for name in {**current, **saved} if saved.get(name) != current.get(name)]
    return "; ".join(_difference(name, saved.get(name), current.get(name)) for name in names)


def _difference(name: str, saved: Any, current: Any) -> str:
    if any(str(value).startswith(_DIGEST) for value in (saved, current)):
        return f"other {name}"
    return f"{name}: {saved!r} in the file, {current!r} now"


def _images(split: Split) -> str:
    if split.dataset is not None:
        return fingerprint(split.dataset.element_spec, int(split.dataset.cardinality()))
    return content_hash(*split.content_hashes()).hex()


def _array(values: np.ndarray) -> str:
    values = np.ascontiguousarray(values)
    return fingerprint(values.shape, values.dtype, content_hash(values.tobytes()).hex())
