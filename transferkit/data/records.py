"""The records that the rest of the library works on: one split's examples, and a whole data set."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf
    from matplotlib.figure import Figure

    from transferkit.data.pixels import PixelSpec
    from transferkit.data.report import DataReport

__all__ = ["Data", "Split"]


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The examples of one split, in one fixed order.

    Exactly one of `paths`, `images` and `stream` is given.

    Attributes:
        name: "train", "validation" or "test".
        labels: int32 (n,), or float32 (n, classes) where an image can have several labels; empty for a stream.
        pixels: how files become images.
        paths: the files.
        images: (n, height, width, 3), already of the image size.
        stream: the user's own dataset of batches (images, labels), of which nothing else is known.
        on_error: "skip" or "raise": what happens at a file that was deleted or broken after the data was built.
        lost: path to reason of files that were left out since.
    """

    name: str
    labels: np.ndarray
    pixels: PixelSpec
    paths: tuple[str, ...] | None = None
    images: np.ndarray | None = None
    stream: tf.data.Dataset | None = None
    on_error: str = "skip"
    lost: dict[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def keys(self) -> list[bytes]:
        """Return 32 bytes for each example that stand for its contents, in order."""
        if self.paths is not None:
            from transferkit.data.pixels import content_keys

            return content_keys(self.paths)
        if self.images is not None:
            kind = f"{self.images.dtype}{self.images.shape[1:]}".encode()
            return [hashlib.blake2b(kind + image.tobytes(), digest_size=32).digest() for image in self.images]
        raise ValueError("A stream's examples must be read to be told apart. Received: a split of a dataset.")


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A data set, ready for training: what `DatasetBuilder.build()` gives.

    Attributes:
        train, validation, test: tf.data.Dataset of batches (images, labels), images float32 (n, height, width, 3),
            RGB in [0, 255]; None for a split that there is not.
        class_names: in the order of the labels.
        report: what was read, skipped and why.
        splits: split name to its examples.
        pixels: how files become images.
        batch_size: images in a batch.
        seed: of the splits and of the order.
        multi_label: whether an image can have several labels.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset | None
    test: tf.data.Dataset | None
    class_names: tuple[str, ...]
    report: DataReport
    splits: dict[str, Split]
    pixels: PixelSpec
    batch_size: int
    seed: int
    multi_label: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.image_size

    @property
    def files(self) -> dict[str, list[str]]:
        """Split name to the list of its files' paths, in order."""
        return {name: list(split.paths or ()) for name, split in self.splits.items()}

    @property
    def class_weight(self) -> dict[int, float]:
        """Class index to a weight that makes all classes of the training split count the same; their mean is 1.

        Reference: King and Zeng, "Logistic Regression in Rare Events Data", 2001.
        """
        counts = np.bincount(self.splits["train"].labels, minlength=self.num_classes)
        return {index: len(self.splits["train"]) / (self.num_classes * count) for index, count in enumerate(counts)}

    def show(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        split: str = "train",
        draw: Callable[..., Figure] | None = None,
    ) -> Figure:
        """Draw a 3 x 3 grid of images with their labels.

        Args:
            path: where to save the picture, or None.
            split: "train", "validation" or "test".
            draw: what draws (images, titles, path=); the library's own grid by default.

        Returns:
            The matplotlib figure.
        """
        from transferkit.evaluation.plots import image_grid

        images, labels = next(iter(getattr(self, split)))
        titles = [self._title(label) for label in np.asarray(labels)[:9]]
        return (draw or image_grid)(np.asarray(images)[:9], titles, path=path)

    def _title(self, label: Any) -> str:
        if self.multi_label:
            return ", ".join(self.class_names[index] for index in np.flatnonzero(label))
        return self.class_names[int(label)]
