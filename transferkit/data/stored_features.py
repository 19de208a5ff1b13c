"""Features of images that were computed before, in the place of the images of a split."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transferkit.errors import DataError


@dataclasses.dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Features of the images of a split, in its order.

    Attributes:
        array: float32 (n, size), read from disk when it is indexed; has `shape`, `take(rows)` and `array[rows]`.
        digests: uint64 (n,), equal for equal features.
        model_id: fingerprint of the model that computed them.
        precision: in which it did.
    """

    array: Any
    digests: np.ndarray
    model_id: str
    precision: str

    def take(self, rows: np.ndarray) -> StoredFeatures:
        """Return some of the rows."""
        return dataclasses.replace(self, array=self.array.take(rows), digests=self.digests[rows])

    def content_hashes(self) -> list[bytes]:
        """Return bytes for each row, equal for equal features."""
        return [digest.tobytes() for digest in self.digests]


def require_images(split: Any, what: str) -> None:
    """Raise a DataError for a split of stored features; `what` names what requires images."""
    if getattr(split, "features", None) is not None:
        raise DataError(
            f"{what} requires images. Received: the split {split.name!r} of stored features. Build the data from the "
            "images with DatasetBuilder."
        )
