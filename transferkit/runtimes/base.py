"""The interface of runtimes of exported models, and functions that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

Outputs = tuple[np.ndarray, ...]
# The name of the input of every exported model, and of its outputs: "values" in place of probabilities for numbers.
IMAGE, PROBABILITIES, VALUES, FEATURES = "image", "probabilities", "values", "features"
# The key of the metadata in a file.
METADATA_KEY = "transferkit"


class Runtime(Protocol):
    """An exported model that can be run from any number of threads at once.

    Attributes:
        name: "openvino", "onnx" or "litert".
        outputs: names of the outputs of the model.
        metadata: JSON text that was stored with the model, or None.
    """

    name: str
    outputs: tuple[str, ...]
    metadata: str | None

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return a float32 array per output for images (n, height, width, 3), RGB in [0, 255], in one batch."""


def pad_batch(images: np.ndarray, batch_size: int) -> np.ndarray:
    """Return float32 images, zero-padded to `batch_size`: a graph of fixed size runs faster.

    >>> pad_batch(np.ones((1, 2, 2, 3), np.uint8), 4).shape
    (4, 2, 2, 3)
    """
    if len(images) == batch_size:
        return np.ascontiguousarray(images, np.float32)
    full = np.zeros((batch_size, *images.shape[1:]), np.float32)
    full[: len(images)] = images
    return full


def run_batches(run: Callable[[np.ndarray], Outputs], images: np.ndarray, batch_size: int) -> Outputs:
    """Run zero-padded batches of `batch_size` one after another; return the rows of `images`."""
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        parts.append(tuple(output[: len(batch)] for output in run(pad_batch(batch, batch_size))))
    return concatenate(parts)


def concatenate(parts: Sequence[Outputs]) -> Outputs:
    """Return the outputs of several batches as those of one."""
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(arrays) for arrays in zip(*parts))
