"""A data set with its splits, ready for training."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit import plots
from transferkit._utils.checks import check_choice, check_int
from transferkit._utils.tables import html_lines
from transferkit._utils.text import printable, shorten
from transferkit.data.examples import Split
from transferkit.data.numbers import require_classes
from transferkit.data.pipeline import SplitDataset, epoch_order, evaluation_dataset, training_dataset
from transferkit.data.report import DataReport
from transferkit.data.similar import SimilarImage, find_similar
from transferkit.data.stored_features import require_images
from transferkit.images.loading import load_image
from transferkit.images.spec import ImageSpec


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A data set as `DatasetBuilder.build()` returns it.

    `train`, `validation` and `test` are tf.data.Datasets of batches (images, labels), images float32 (n, height, width,
    3), RGB in [0, 255], or (images, labels, weights) where the data have sample weights. They are created when they are
    first used: training on cached features needs none of them. Data of `Shards.to_data` have stored features (n, size)
    in the place of images.

    Attributes:
        class_names: tuple of str, in the order of the labels.
        report: `DataReport`. The images read and the files skipped.
        splits: dict of split name to `Split`.
        image_spec: `ImageSpec`. How files become images.
        batch_size: int. Images per batch.
        seed: int. Seed of the splits and of the order.
        multi_label: bool. Whether an image can have several labels.
        target: "class" or "number". Whether the labels are classes, or numbers, which have no `class_names`.
        label_name: str. The column of the labels, where it was given, else None.

    Example:

    >>> data = tk.DatasetBuilder("photos/", validation=0.2).build()  # doctest: +SKIP
    >>> images, labels = next(iter(data.train))  # doctest: +SKIP
    >>> data.class_names, len(data.files["train"])  # doctest: +SKIP
    (('cats', 'dogs'), 800)
    """

    class_names: tuple[str, ...]
    report: DataReport
    splits: dict[str, Split]
    image_spec: ImageSpec
    batch_size: int
    seed: int
    multi_label: bool = False
    target: str = "class"
    label_name: str | None = None

    @functools.cached_property
    def train(self) -> tf.data.Dataset:
        """Batches of training images, in another order each time they are iterated."""
        return self._batches("train")

    @functools.cached_property
    def validation(self) -> tf.data.Dataset | None:
        """Batches of validation images in the order of the split; None without such a split."""
        return self._batches("validation")

    @functools.cached_property
    def test(self) -> tf.data.Dataset | None:
        """Batches of test images in the order of the split; None without such a split."""
        return self._batches("test")

    def _batches(self, name: str) -> tf.data.Dataset | None:
        split = self.splits.get(name)
        if split is None:
            return None
        if split.dataset is not None:
            return SplitDataset(split.dataset, split)
        if name == "train":
            return training_dataset(split, batch_size=self.batch_size, seed=self.seed)
        return evaluation_dataset(split, batch_size=self.batch_size)

    @property
    def num_classes(self) -> int:
        """Number of classes; an error for numbers as labels."""
        require_classes(self, "`num_classes`")
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
        """Class index to a weight that makes all classes of the training split count the same; the mean weight is 1.

        Images count by their sample weights, if they have any. A class without training images, which arrays can have,
        has the weight 0.

        Reference: King and Zeng, "Logistic Regression in Rare Events Data", 2001.
        """
        require_classes(self, "`class_weight`")
        split = self.splits["train"]
        if split.dataset is not None:
            raise ValueError("`class_weight` needs labels to count. Received: a split of a tf.data.Dataset.")
        if not self.multi_label:
            counts = np.bincount(split.labels, split.weights, minlength=self.num_classes)
        else:
            counts = split.labels.sum(axis=0) if split.weights is None else split.weights @ split.labels
        return {
            index: float(counts.sum() / (self.num_classes * count)) if count else 0.0
            for index, count in enumerate(counts)
        }

    def show(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        split: str = "train",
        predictions: Sequence[Any] | None = None,
        offset: int = 0,
        count: int = 9,
    ) -> plots.Figure:
        """Plot a grid of images with their labels; wrong predictions are marked.

        Args:
            path: str or path. Where to save the figure. Defaults to None (not saved).
            split: "train", "validation" or "test". Defaults to "train", whose images are shown in a shuffled order.
            predictions: one class name, class index or `Prediction` per image of the split, in the order of
                `files[split]`. Defaults to None.
            offset: int >= 0. Position of the first image shown. Defaults to 0.
            count: int >= 1. Maximum number of images. Defaults to 9.

        Returns:
            The matplotlib figure, which a notebook shows.

        Raises:
            ValueError: when there is no such split, or a number is out of range.

        Example:

        >>> data.show("images.png")  # doctest: +SKIP
        """
        check_choice("split", split, sorted(self.splits))
        images, labels, indices = self._select(
            self.splits[split], check_int("offset", offset, minimum=0), check_int("count", count)
        )
        true = [self._label_text(label) for label in labels]
        titles, wrong = true, [False] * len(true)
        if predictions is not None:
            predicted = [self._prediction_text(predictions[index]) for index in indices]
            wrong = [one != other for one, other in zip(predicted, true)]
            titles = [f"{p}, not {t}" if bad else t for p, t, bad in zip(predicted, true, wrong)]
        return plots.image_grid(images, titles, path=path, wrong=wrong)

    def similar(
        self, image: Any, count: int = 9, *, backbone: Any, splits: Sequence[str] | None = None
    ) -> list[SimilarImage]:
        """Return the images that are most similar to one, by the cosine of their features.

        The features of the data are computed once, and come from the cache from then on.

        Args:
            image: path, bytes, Pillow image or array (height, width, 3), RGB in [0, 255].
            count: int >= 1. Largest number of images. Defaults to 9.
            backbone: `Backbone`, whose features are compared.
            splits: names of the splits that are searched. Defaults to None, all of them.

        Returns:
            A list of `SimilarImage`: `.path`, `.split`, `.index`, `.label`, `.similarity`; most similar first.

        Raises:
            DataError: for a tf.data.Dataset.
            ImageError: for an image that cannot be read.
            ValueError: when there is no such split, or `count` is out of range.

        Example:

        >>> backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(160, 160, 3))  # doctest: +SKIP
        >>> [one.path for one in data.similar("cat.jpg", backbone=backbone)]  # doctest: +SKIP
        """
        check_int("count", count)
        names = list(self.splits) if splits is None else [check_choice("splits", one, self.splits) for one in splits]
        features = np.asarray(backbone.features([image], image_spec=self.image_spec))[0]
        return find_similar(features, [self.splits[name] for name in names], backbone, count)

    def _select(self, split: Split, offset: int, count: int) -> tuple[Any, Any, list[int]]:
        require_images(split, "`show`")
        if split.dataset is not None:
            images, labels, *_ = next(iter(split.dataset.unbatch().skip(offset).batch(count)))
            return images.numpy(), labels.numpy(), list(range(offset, offset + len(images)))
        # Files are sorted by class, so the first nine would be of one class.
        indices = epoch_order(len(split), self.seed, 0).tolist()[offset : offset + count]
        if split.images is not None:
            return split.images[indices], split.labels[indices], indices
        assert split.paths is not None
        images = [load_image(split.paths[index], split.image_spec) for index in indices]
        return images, split.labels[indices], indices

    def _prediction_text(self, prediction: Any) -> str:
        if self.target == "number":
            return self._label_text(getattr(prediction, "value", prediction))
        prediction = getattr(prediction, "label", prediction)
        return prediction if isinstance(prediction, str) else self._label_text(prediction)

    def _label_text(self, label: Any) -> str:
        if self.target == "number":
            return f"{float(label):.4g}"
        if self.multi_label:
            return ", ".join(self.class_names[index] for index in np.flatnonzero(np.asarray(label) > 0.5)) or "none"
        return self.class_names[int(np.ravel(label)[0])]

    def __repr__(self) -> str:
        return shorten(f"{self._summary()}\n{self.report!r}".rstrip())

    def _repr_html_(self) -> str:
        return html_lines([self._summary()]) + self.report._repr_html_()

    def _summary(self) -> str:
        size = "x".join(map(str, self.image_size))
        if self.target == "number":
            labels = self.splits["train"].labels
            described = f"numbers from {labels.min():g} to {labels.max():g}"
            return f"Data: {described}, images {size}, batches of {self.batch_size}"
        names = ", ".join(map(printable, self.class_names[:5])) + (", ..." if self.num_classes > 5 else "")
        return f"Data: {self.num_classes} classes ({names}), images {size}, batches of {self.batch_size}"
