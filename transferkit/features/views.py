"""Views of training images: the original and augmented views, and the keys under which their features are stored."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit._utils.hashing import content_hash
from transferkit.data.examples import Split
from transferkit.features.shard import Shard

# None is the original image, an int >= 0 the augmented view of that number.
View = int | None
ORIGINAL: tuple[View, ...] = (None,)
# Index of the view, and index of the image.
Row = tuple[int, int]


def training_views(num_views: int, augmentation: Any) -> tuple[View, ...]:
    """Return the views of a training image: the original and, where there are more, augmented views."""
    return ORIGINAL if augmentation is None else (None, *range(num_views - 1))


class SplitViews:
    """The rows of features of a split: one per view and image; `seed` is that of the augmented views."""

    def __init__(self, split: Split, views: Sequence[View], augmentation: Any, seed: int) -> None:
        self.split: Split = split
        self.views: Any = views
        self._augmentation, self._seed = augmentation, seed

    @functools.cached_property
    def keys(self) -> list[list[bytes]]:
        """For each view the keys of its rows: the content hash of the image and, if augmented, of the augmentation."""
        hashes = self._content_hashes
        if self._augmentation is None:
            return [hashes for _ in self.views]
        # The layer's seed is that of training on images; views have theirs in their keys.
        # MixUp and CutMix act on batches, not on views.
        excluded = ("name", "trainable", "seed", "mixup", "cutmix")
        config = {key: value for key, value in self._augmentation.get_config().items() if key not in excluded}
        recipe = json.dumps(config, sort_keys=True, default=str).encode()
        keys = []
        for view in self.views:
            number = f"{self._seed}:{view}".encode()
            keys.append(hashes if view is None else [content_hash(key, recipe, number) for key in hashes])
        return keys

    def shard(self, rows: Sequence[Row]) -> Shard:
        """Return the shard of `rows`, which are ordered by image."""
        images = [image for _, image in rows]
        mask = np.array([self.views[view] is not None for view, _ in rows])
        if not mask.any():
            return Shard(self.split, images)
        # A view follows from its key and so from the contents: adding an image changes no other view.
        keys = b"".join(self.keys[view][image][:8] for view, image in rows)
        return Shard(self.split, images, np.frombuffer(keys, np.uint32).reshape(-1, 2), mask, self._augmentation)

    @functools.cached_property
    def _content_hashes(self) -> list[bytes]:
        return self.split.content_hashes()
