"""The examples of one split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit._utils.hashing import content_hash
from transferkit.data.file_info import hash_files
from transferkit.data.stored_features import StoredFeatures
from transferkit.images.disk_cache import DiskImageCache
from transferkit.images.memory_cache import MemoryImageCache
from transferkit.images.spec import ImageSpec


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The examples of one split, in a fixed order. Exactly one of `paths`, `images`, `features` and `dataset` is set.

    Attributes:
        name: "train", "validation" or "test".
        labels: int32 (n,), or float32 (n, classes) where an image can have several labels, or float32 (n,) of
            numbers; empty for a dataset.
        weights: float32 (n,), finite and >= 0, by which the loss of each example is multiplied; None without any, and
            for a dataset, whose elements have them.
        image_spec: how files become images.
        class_names: in the order of the labels; empty where they are not known.
        paths: the files.
        images: (n, height, width, 3), already of the image size.
        features: `StoredFeatures` in the place of images.
        dataset: the user's tf.data.Dataset of batches (images, labels), or (images, labels, weights).
        image_cache: the decoded images of `paths` on disk, or None.
        memory_cache: decoded images in memory, shared by the splits of a data set, or None.
        on_error: "skip" or "raise". The reaction to a file deleted or damaged after the data set was built.
        unreadable: path -> reason of the files skipped since.
    """

    name: str
    labels: np.ndarray
    image_spec: ImageSpec
    class_names: tuple[str, ...] = ()
    paths: tuple[str, ...] | None = None
    images: np.ndarray | None = None
    features: StoredFeatures | None = None
    dataset: Any = None
    image_cache: DiskImageCache | None = None
    memory_cache: MemoryImageCache | None = None
    on_error: str = "skip"
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def target(self) -> str:
        """Whether the labels are classes, "class", or numbers, "number"."""
        is_number = self.dataset is None and self.labels.ndim == 1 and self.labels.dtype.kind == "f"
        return "number" if is_number else "class"

    @property
    def has_weights(self) -> bool:
        """Whether the batches are (images, labels, weights)."""
        spec = getattr(self.dataset, "element_spec", ())
        return self.weights is not None or (isinstance(spec, tuple) and len(spec) == 3)

    def take(self, indices: Sequence[int] | np.ndarray) -> Split:
        """Return the examples at `indices`.

        Raises:
            ValueError: for a split of a tf.data.Dataset.
        """
        if self.dataset is not None:
            raise ValueError("A split must have files or arrays. Received: a split of a tf.data.Dataset.")
        rows = np.asarray(indices, int)
        return dataclasses.replace(
            self,
            labels=self.labels[rows],
            paths=None if self.paths is None else tuple(self.paths[row] for row in rows),
            images=None if self.images is None else self.images[rows],
            features=None if self.features is None else self.features.take(rows),
            weights=None if self.weights is None else self.weights[rows],
            # Its rows are those of this split.
            image_cache=None,
        )

    def content_hashes(self) -> list[bytes]:
        """Return 32 bytes per example that identify its contents; only new or changed files are read.

        Raises:
            ValueError: for a split of a tf.data.Dataset.
        """
        if self.paths is not None:
            return hash_files(self.paths)
        if self.images is not None:
            kind = f"{self.images.dtype}{self.images.shape[1:]}".encode()
            return [content_hash(kind, image.tobytes()) for image in self.images]
        if self.features is not None:
            return self.features.content_hashes()
        raise ValueError("A split must have files or arrays to be hashed. Received: a split of a tf.data.Dataset.")

    def __repr__(self) -> str:
        sources = {"files": self.paths, "arrays": self.images, "stored features": self.features}
        source = next((name for name, value in sources.items() if value is not None), "a tf.data.Dataset")
        count = "" if self.dataset is not None else f"{len(self):,} images, "
        return f"Split({self.name!r}, {count}{len(self.class_names)} classes, from {source})"
