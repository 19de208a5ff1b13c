"""The training images that are most similar to an image, by the features that the model classifies."""

from __future__ import annotations

import base64
import dataclasses
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from transferkit._utils.text import printable
from transferkit.data.folders import list_images
from transferkit.errors import ImageError
from transferkit.images.loading import load_images
from transferkit.images.spec import ImageSpec
from transferkit.serving.worker import WorkerThread

_LOG = logging.getLogger("transferkit.serving")
_CHUNK = 32
_THUMBNAIL = ImageSpec((96, 96), resize="pad")


@dataclasses.dataclass(frozen=True)
class TrainingImage:
    """A training image that is similar to an image: its label, cosine similarity, and a thumbnail as JPEG in base64."""

    label: str
    similarity: float
    thumbnail: str


class TrainingImages:
    """The features of the images of a folder, computed in the background.

    Args:
        folder: with one subfolder per class.

    Raises:
        DataError: when there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        index = list_images(folder, "training_images")
        self._paths, self._labels = index.paths, index.labels
        # The rows of images that can be read.
        self._rows: list[int] = []
        self._features: np.ndarray | None = None
        self.problem: str = "their features are not computed yet"

    @property
    def ready(self) -> bool:
        """Whether the features are complete."""
        return self._features is not None

    async def compute(self, predictor: Any, worker: WorkerThread) -> None:
        """Compute the features with a predictor, a few images at a time."""
        chunks: list[np.ndarray] = []
        rows: list[int] = []
        try:
            for start in range(0, len(self._paths), _CHUNK):
                found = await worker.run(_embed, predictor, self._paths[start : start + _CHUNK])
                rows += [start + index for index, _ in found]
                chunks += [features for _, features in found]
        except Exception as error:
            self.problem = str(error)
            _LOG.error("There are no similar training images: %s", printable(error))
            return
        if not chunks:
            self.problem = "the folder has no image that can be read"
            return
        self._rows, self._features = rows, _unit(np.stack(chunks))

    def nearest(self, features: np.ndarray, count: int) -> list[TrainingImage]:
        """Return the `count` images with the most similar features, best first."""
        if self._features is None:
            return []
        similarities = self._features @ _unit(features[None])[0]
        best = np.argsort(-similarities, kind="stable")[:count]
        rows = [self._rows[index] for index in best]
        loaded = load_images([self._paths[row] for row in rows], _THUMBNAIL)
        return [
            TrainingImage(self._labels[row], round(float(similarities[index]), 4), _jpeg(image))
            for index, row, image in zip(best, rows, loaded)
            # A file may be removed after its features were computed.
            if not isinstance(image, ImageError)
        ]


def _embed(predictor: Any, paths: tuple[str, ...]) -> list[tuple[int, np.ndarray]]:
    """Return the position and the features of each image that can be read."""
    try:
        return list(enumerate(predictor.embed(list(paths))))
    except ImageError:
        if len(paths) == 1:
            return []
    return [(index, row) for index, path in enumerate(paths) for _, row in _embed(predictor, (path,))]


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _jpeg(image: np.ndarray) -> str:
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=80)
    return base64.b64encode(encoded.getvalue()).decode()
