"""The training images that are most similar to an image, by the features that the model classifies."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from transferkit.calibration.distribution import unit_features
from transferkit.data.examples import Split
from transferkit.data.stored_features import require_images
from transferkit.engines.selection import compile_engine
from transferkit.errors import DataError
from transferkit.features.extraction import ExtractionOptions, extract_features
from transferkit.images.loading import load_image
from transferkit.images.spec import ImageSpec

# Rows of training features that are compared at a time.
_BLOCK_ROWS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbor:
    """A training image that is similar to an explained image.

    Attributes:
        index: int. Its position in the training split.
        path: str. The file, or None for arrays.
        label: str. Its class name, or several joined by ", "; or the text of its number.
        similarity: float in [-1, 1]. Cosine of the angle of the features.
        source: the file, or an array (height, width, 3).

    Example:

    >>> nearest = tk.explain(trainer, "photo.jpg", data=data).neighbors[0]  # doctest: +SKIP
    >>> nearest.label, nearest.similarity  # doctest: +SKIP
    ('cats', 0.91)
    """

    index: int
    path: str | None
    label: str
    similarity: float
    source: Any = dataclasses.field(repr=False)

    def load(self, image_size: tuple[int, int]) -> np.ndarray:
        """Return the image as uint8 (height, width, 3) of this size.

        Args:
            image_size: (height, width) in pixels.

        Raises:
            ImageError: when the file cannot be read any more.
        """
        return load_image(self.source, ImageSpec(image_size))


def find_neighbors(
    model: keras.Model, split: Split, images: np.ndarray, paths: Sequence[str | None], count: int
) -> list[tuple[Neighbor, ...]]:
    """Return the `count` training images most similar to each of images uint8 (n, height, width, 3), best first.

    The features of the training images are those in the cache, or are computed once. A file is not its own neighbor.
    """
    if split.dataset is not None:
        raise DataError(
            "`data` must have training images in files or arrays. Received: a tf.data.Dataset. Build the data from "
            "files, or omit `data`."
        )
    require_images(split, "The search of neighbors")
    training = extract_features(split, model, ExtractionOptions())[0]
    queries = compile_engine(model, count=len(images))(images)[0]
    # One more, because the image itself may be among them.
    similarities, indices = _most_similar(training, unit_features(np.asarray(queries)), count + 1)
    return [
        tuple(_neighbors_of(path, split, rows, values))[:count]
        for path, rows, values in zip(paths, indices, similarities)
    ]


def _most_similar(training: Any, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine similarities and row indices (queries, count), best first, without all features in memory."""
    best = np.zeros((len(queries), 0), np.float32)
    indices = np.zeros((len(queries), 0), np.int64)
    for start in range(0, len(training), _BLOCK_ROWS):
        block = unit_features(np.asarray(training[start : start + _BLOCK_ROWS], np.float32))
        rows = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
        best, indices = np.hstack([best, queries @ block.T]), np.hstack([indices, rows])
        order = np.argsort(-best, axis=1, kind="stable")[:, :count]
        best, indices = np.take_along_axis(best, order, 1), np.take_along_axis(indices, order, 1)
    return best, indices


def _neighbors_of(path: str | None, split: Split, rows: np.ndarray, values: np.ndarray) -> list[Neighbor]:
    neighbors = []
    for row, value in zip(rows.tolist(), values.tolist()):
        file = None if split.paths is None else split.paths[row]
        if file is None or path is None or os.path.abspath(file) != os.path.abspath(path):
            source = file if split.images is None else split.images[row]
            neighbors.append(Neighbor(row, file, _label_text(split, row), min(1.0, max(-1.0, value)), source))
    return neighbors


def _label_text(split: Split, row: int) -> str:
    label = np.ravel(split.labels[row])
    if split.target == "number":
        return f"{label[0]:g}"
    indices = np.flatnonzero(label > 0.5) if len(label) > 1 else label.astype(int)
    names = split.class_names
    return ", ".join(names[index] if index < len(names) else str(index) for index in indices) or "none"
