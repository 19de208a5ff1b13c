"""All images of a data set in one order, with their labels and features."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from typing_extensions import Self

from transferkit.data.dataset import Data
from transferkit.inspection.records import ImageKey


@dataclasses.dataclass(frozen=True, eq=False)
class InspectedImages:
    """The images of all splits, one split after the other.

    Attributes:
        keys: tuple of `ImageKey`.
        labels: int (n,).
        features: float32 (n, size).
        class_names: in the order of the labels.
        arrays: split name to its images, where they are not files.
    """

    keys: tuple[ImageKey, ...]
    labels: np.ndarray
    features: np.ndarray
    class_names: tuple[str, ...]
    arrays: dict[str, np.ndarray]

    @classmethod
    def of(cls, data: Data, backbone: Any) -> Self:
        """Return the images of all splits with the features of a backbone."""
        keys = [
            ImageKey(name, index, None if split.paths is None else split.paths[index])
            for name, split in data.splits.items()
            for index in range(len(split))
        ]
        features = np.concatenate([backbone.features(split) for split in data.splits.values()])
        labels = np.concatenate([split.labels for split in data.splits.values()]).astype(int)
        arrays = {name: split.images for name, split in data.splits.items() if split.images is not None}
        return cls(tuple(keys), labels, features, data.class_names, arrays)

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> ImageKey:
        """Return the key of an image."""
        return self.keys[index]

    def label(self, index: int) -> str:
        """Return the name of the given label of an image."""
        return self.class_names[int(self.labels[index])]

    def source(self, key: ImageKey) -> Any:
        """Return the path of an image, or its array."""
        return key.path if key.path is not None else self.arrays[key.split][key.index]

    def sources(self) -> list[Any]:
        """Return the paths or arrays of all images."""
        return [self.source(key) for key in self.keys]
