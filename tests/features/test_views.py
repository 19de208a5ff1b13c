"""Views of training images, and the keys of their features."""

from __future__ import annotations

from typing import Any

import pytest

import transferkit as tk
from transferkit.data.examples import Split
from transferkit.features.views import ORIGINAL, SplitViews, training_views

BLOCK = tk.AugmentationBlock(rotation=0.2)


@pytest.mark.parametrize(
    ("num_views", "views"), [(1, ORIGINAL), (2, (None, 0)), (4, (None, 0, 1, 2))], ids=["one", "two", "four"]
)
def test_training_views(num_views: int, views: tuple[Any, ...]) -> None:
    assert training_views(num_views, BLOCK) == views
    assert training_views(num_views, None) == ORIGINAL == (None,)


def test_split_views_keys_of_originals_are_content_hashes(split: Split) -> None:
    for augmentation in (None, BLOCK):
        assert SplitViews(split, ORIGINAL, augmentation, 3).keys == [split.content_hashes()]


def test_split_views_keys_of_augmented_views_differ(split: Split) -> None:
    def keys(view: int, seed: int = 0, **options: Any) -> list[bytes]:
        block = tk.AugmentationBlock(**{"rotation": 0.2, **options})
        return SplitViews(split, [view], block, seed).keys[0]

    variants = [keys(0), keys(1), keys(0, seed=1), keys(0, rotation=0.3), split.content_hashes()]
    assert len({key for variant in variants for key in variant}) == 5 * len(split)
    # Name and seed of the layer do not change a view.
    assert keys(0) == keys(0, name="other") == keys(0, seed=0)
    block = tk.AugmentationBlock(rotation=0.2, seed=9)
    assert SplitViews(split, [0], block, 0).keys == [keys(0)]


def test_split_views_shard_of_rows(split: Split) -> None:
    views = SplitViews(split, (None, 0), BLOCK, 3)
    shard = views.shard([(0, 2), (1, 2), (1, 5)])
    assert list(shard.image_indices) == [2, 2, 5] and list(shard.augmented_mask) == [False, True, True]
    assert shard.augmentation is BLOCK and shard.augmentation_seeds.shape == (3, 2)
    assert shard.augmentation_seeds[1].tobytes() == views.keys[1][2][:8]
    assert views.shard([(0, 2), (0, 3)]).augmentation_seeds is None
