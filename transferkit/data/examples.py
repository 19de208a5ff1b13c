"""The records that the rest of the library works on: one split's examples, and a whole data set."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf
    from matplotlib.figure import Figure

    from transferkit.data.report import DataReport
    from transferkit.images.disk_cache import DiskImageCache
    from transferkit.images.spec import ImageSpec


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The examples of one split, in one fixed order.

    Exactly one of `paths`, `images` and `stream` is given.

    Attributes:
        name: "train", "validation" or "test".
        labels: int32 (n,), or float32 (n, classes) where an image can have several labels; empty for a stream.
        image_spec: how files become images.
        paths: the files.
        images: (n, height, width, 3), already of the image size.
        stream: the user's own dataset of batches (images, labels), of which nothing else is known.
        store: the decoded images of `paths` on disk, where they were wanted there.
        on_error: "skip" or "raise": what happens at a file that was deleted or broken after the data was built.
        lost: path to reason of files that were left out since.
    """

    name: str
    labels: np.ndarray
    image_spec: ImageSpec
    paths: tuple[str, ...] | None = None
    images: np.ndarray | None = None
    stream: tf.data.Dataset | None = None
    store: DiskImageCache | None = None
    on_error: str = "skip"
    lost: dict[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def keys(self) -> list[bytes]:
        """Return 32 bytes for each example that stand for its contents, in order.

        Files are read for it only where they changed since they were last read.
        """
        if self.paths is not None:
            from transferkit.data.file_info import hash_files

            return hash_files(self.paths)
        if self.images is not None:
            kind = f"{self.images.dtype}{self.images.shape[1:]}".encode()
            return [hashlib.blake2b(kind + image.tobytes(), digest_size=32).digest() for image in self.images]
        raise ValueError("A stream's examples must be read to be told apart. Received: a split of a dataset.")


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A data set, ready for training: what `DatasetBuilder.build()` gives.

    `train`, `validation` and `test` are tf.data.Datasets of batches (images, labels), images float32 (n, height, width,
    3), RGB in [0, 255]. They are made when they are asked for: training on stored features needs none of them.

    Attributes:
        class_names: in the order of the labels.
        report: what was read, skipped and why.
        splits: split name to its examples.
        image_spec: how files become images.
        batch_size: images in a batch.
        seed: of the splits and of the order.
        multi_label: whether an image can have several labels.
    """

    class_names: tuple[str, ...]
    report: DataReport
    splits: dict[str, Split]
    image_spec: ImageSpec
    batch_size: int
    seed: int
    multi_label: bool = False

    @functools.cached_property
    def train(self) -> tf.data.Dataset:
        """Batches of training images, in another order each time they are iterated."""
        return self._batches("train")

    @functools.cached_property
    def validation(self) -> tf.data.Dataset | None:
        """Batches of validation images, in the order of the split; None where there is no such split."""
        return self._batches("validation")

    @functools.cached_property
    def test(self) -> tf.data.Dataset | None:
        """Batches of test images, in the order of the split; None where there is no such split."""
        return self._batches("test")

    def _batches(self, name: str) -> tf.data.Dataset | None:
        from transferkit.data.pipeline import evaluation_dataset, registered, training_dataset

        split = self.splits.get(name)
        if split is None:
            return None
        if split.stream is not None:
            return registered(split.stream, split)
        if name == "train":
            return training_dataset(split, batch_size=self.batch_size, seed=self.seed)
        return evaluation_dataset(split, batch_size=self.batch_size)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.image_spec.image_size

    @property
    def files(self) -> dict[str, list[str]]:
        """Split name to the list of its files' paths, in order."""
        return {name: list(split.paths or ()) for name, split in self.splits.items()}

    @property
    def class_weight(self) -> dict[int, float]:
        """Class index to a weight that makes all classes of the training split count the same; their mean is 1.

        Reference: King and Zeng, "Logistic Regression in Rare Events Data", 2001.
        """
        split = self.splits["train"]
        if split.stream is not None:
            raise ValueError("`class_weight` must have labels to count. Received: a split of a dataset.")
        counts = split.labels.sum(axis=0) if self.multi_label else np.bincount(split.labels, minlength=self.num_classes)
        return {index: float(counts.sum() / (self.num_classes * count)) for index, count in enumerate(counts)}

    def show(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        split: str = "train",
        predicted: Sequence[Any] | None = None,
        first: int = 0,
        count: int = 9,
    ) -> Figure:
        """Draw a grid of images with their labels, those that `predicted` has wrong marked.

        Args:
            path: where to save the picture, or None.
            split: "train", "validation" or "test".
            predicted: one class name or index (or `Prediction`) for each image of the split, in the order of
                `files[split]`; the images that it has wrong are marked.
            first: number of the first image of the split to draw. In the training split, whose files lie class by
                class, images are drawn in a shuffled order.
            count: largest number of images.

        Returns:
            The matplotlib figure.
        """
        from transferkit.data.grid import draw_grid

        return draw_grid(self, path, split=split, predicted=predicted, first=first, count=count)
