"""Views of the images of a batch, whose predictions are averaged (test-time augmentation)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from transferkit._utils.checks import check_int


class AugmentedViews:
    """The original and augmented views; a view depends only on its number and the image, not on the batch."""

    def __init__(self, augmentation: Any, num_views: int) -> None:
        check_int("num_views", num_views)
        if (augmentation is None) != (num_views == 1):
            given = "none" if augmentation is None else "one"
            raise ValueError(
                f"`num_views` must be 1 without an `augmentation`, and more with one. Received: num_views={num_views} "
                f"and {given}. Give augmentation=tk.AugmentationBlock(flip='horizontal'), num_views=2."
            )
        if augmentation is not None and not hasattr(augmentation, "test_view"):
            raise TypeError(
                f"`augmentation` must be an AugmentationBlock. Received: {type(augmentation).__name__}. Create one "
                "with tk.AugmentationBlock(...)."
            )
        self._augmentation = augmentation
        self.num_views: int = num_views

    def of(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the views of images (n, height, width, 3), the original first."""
        yield images
        for index in range(self.num_views - 1):
            yield self._augmentation.test_view(images, index, self.num_views - 1)

    def key(self) -> str:
        """Return a text that identifies the views."""
        config = None if self._augmentation is None else self._augmentation.get_config()
        return json.dumps([self.num_views, config], sort_keys=True, default=str)
