"""The images of a search: those from which it chooses, in nested samples with folds, and a test split that it never
sees."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.splitting import k_fold, stratified_split
from transferkit.data.stored_features import require_images
from transferkit.errors import DataError

_FOLDS = 5
_TEST_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class Sample:
    """Some of the development images.

    Attributes:
        split: the images.
        folds: for each fold, the indices of its images.
    """

    split: Split
    folds: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.split)

    def outside(self, fold: np.ndarray) -> np.ndarray:
        """Return the indices of the images that are not in a fold."""
        return np.setdiff1d(np.arange(len(self)), fold)


@dataclasses.dataclass(frozen=True)
class Development:
    """The images of a search.

    Attributes:
        data: the `Data`, whose other fields describe both splits.
        split: the images from which the search chooses.
        test: the images that no choice sees.
        test_name: where these come from, for the report.
        seed: of samples and folds.
    """

    data: Data
    split: Split
    test: Split
    test_name: str
    seed: int

    def __len__(self) -> int:
        return len(self.split)

    def sample(self, count: int) -> Sample:
        """Return the first `count` images in an order in which each beginning has the classes of the whole."""
        count = min(count, len(self))
        chosen = np.sort(self._order()[:count])
        split = self.split.take(chosen)
        return Sample(split, _folds(split, self.data, self.seed))

    def part(self, start: int, stop: int) -> Split:
        """Return the images from `start` to `stop` in that order."""
        return self.split.take(np.sort(self._order()[start:stop]))

    def data_of(self, train: Split, validation: Split | None = None) -> Data:
        """Return `Data` with these splits."""
        splits = {"train": dataclasses.replace(train, name="train")}
        if validation is not None:
            splits["validation"] = dataclasses.replace(validation, name="validation")
        return dataclasses.replace(self.data, splits=splits, seed=self.seed)

    def _order(self) -> np.ndarray:
        generator = np.random.default_rng(self.seed)
        order, labels = generator.permutation(len(self)), self.split.labels
        if labels.ndim == 2:
            return order
        position = np.empty(len(self))
        for label in np.unique(labels):
            members = order[labels[order] == label]
            position[members] = (np.arange(len(members)) + 0.5) / len(members)
        return np.argsort(position, kind="stable")


def make_development(data: Any, seed: int) -> Development:
    """Return the development and test images of `Data`.

    The test split is that of the data; without one, the validation split; without both, a fifth of the images. The
    development images are all others.

    Raises:
        DataError: for a tf.data.Dataset, sample weights, or a class with one image.
        TypeError: for anything else than `Data`.
    """
    if not isinstance(data, Data):
        raise TypeError(
            f"`data` must be the result of DatasetBuilder(...).build(). Received: {type(data).__name__}. Build it."
        )
    splits = dict(data.splits)
    if "train" not in splits or any(split.dataset is not None for split in splits.values()):
        raise DataError("`data` must consist of files or arrays. Received: a tf.data.Dataset. Pass its images instead.")
    for split in splits.values():
        require_images(split, "`autofit`")
    if any(split.has_weights for split in splits.values()):
        raise DataError("`data` must have images of equal weight. Received: sample weights. Remove the column.")
    train = splits["train"]
    if "test" in splits:
        test, test_name = splits["test"], "test"
        train = concatenate(train, splits["validation"]) if "validation" in splits else train
    elif "validation" in splits:
        test, test_name = splits["validation"], "validation"
    else:
        train, test = _divide(train, data, seed)
        test_name = "a fifth of the training"
    _check_classes(train, data)
    return Development(data, train, test, test_name, seed)


def concatenate(first: Split, second: Split) -> Split:
    """Return the examples of two splits of one data set."""
    paths = None if first.paths is None or second.paths is None else (*first.paths, *second.paths)
    images = None
    if first.images is not None and second.images is not None:
        images = np.concatenate([first.images, second.images])
    labels = np.concatenate([first.labels, second.labels])
    # The cache of decoded images has the rows of one split.
    return dataclasses.replace(first, labels=labels, paths=paths, images=images, image_cache=None)


def _divide(split: Split, data: Data, seed: int) -> tuple[Split, Split]:
    keys = [key.hex() for key in split.content_hashes()]
    divided = stratified_split(keys, _label_names(split, data), {"test": _TEST_FRACTION}, seed=seed, groups=keys)
    rest, test = (np.array(divided[name], int) for name in ("remainder", "test"))
    if not len(test):
        raise DataError(
            f"`data` must have images for a test. Received: {len(split)} images, of which a fifth is none. Build it "
            "with test=, or add images."
        )
    return split.take(rest), dataclasses.replace(split.take(test), name="test")


def _folds(split: Split, data: Data, seed: int) -> list[np.ndarray]:
    # Identical images are one group, so that no copy of a training image is in the other part of a fold.
    keys, labels = [key.hex() for key in split.content_hashes()], _label_names(split, data)
    rarest = min(np.bincount(split.labels)) if split.labels.ndim == 1 else _FOLDS
    count = max(2, min(_FOLDS, int(rarest)))
    return [np.array(fold) for fold in k_fold(keys, labels, count, seed=seed, groups=keys)]


def _label_names(split: Split, data: Data) -> list[Any]:
    if split.labels.ndim == 1:
        return [data.class_names[index] for index in split.labels.tolist()]
    return [tuple(name for name, value in zip(data.class_names, row) if value) for row in split.labels]


def _check_classes(split: Split, data: Data) -> None:
    counts = np.bincount(split.labels, minlength=data.num_classes) if split.labels.ndim == 1 else np.array([2])
    if counts.min() < 2:
        raise DataError(
            "Every class must have two images for training, one of which is left out in turn. Received: "
            f"{dict(zip(data.class_names, counts.tolist()))}. Add images."
        )
