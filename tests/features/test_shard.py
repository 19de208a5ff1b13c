"""Shards: rows of original images and augmented views, with each image decoded once."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferkit as tk
from tests.features.conftest import SPEC
from tests.training.conftest import small_network
from transferkit.data.examples import Split
from transferkit.features import shard as shard_module
from transferkit.features.extraction import ExtractionJob
from transferkit.features.shard import Shard, compute_shard
from transferkit.images import ImageSpec, load_image


class Identity:
    """An engine that returns the images."""

    name, precision, batch_size, streams = "identity", "float32", 4, 1

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return (images.astype(np.float32).reshape(len(images), -1),)


@given(st.lists(st.integers(1, 40), max_size=30))
def test_chunks_keep_rows_of_an_image_together(repeats: list[int]) -> None:
    indices = np.repeat(np.arange(len(repeats)), repeats).tolist()
    chunks = [indices[rows] for rows in shard_module._chunks(indices)]
    assert [index for chunk in chunks for index in chunk] == indices
    assert all(len(chunk) >= 16 for chunk in chunks[:-1])
    assert all(first[-1] != second[0] for first, second in itertools.pairwise(chunks))


def test_compute_shard_rows_are_in_order_and_counted(split: Split) -> None:
    indices = np.random.default_rng(0).permutation(len(split)).tolist()
    counts: list[int] = []
    (rows,) = compute_shard(Shard(split, indices), Identity(), on_progress=counts.append)
    expected = [load_image(split.paths[index], SPEC) for index in indices]
    np.testing.assert_array_equal(rows.reshape(-1, 48, 48, 3), expected)
    assert sum(counts) == len(split) and len(counts) > 1


def test_compute_shard_of_arrays() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 48, 48, 3), np.uint8)
    split = Split("train", np.zeros(30, np.int32), SPEC, images=images)
    indices = [*range(29, -1, -1), 5, 5]
    (rows,) = compute_shard(Shard(split, indices), Identity())
    np.testing.assert_array_equal(rows.reshape(-1, 48, 48, 3), images[indices])


def test_compute_shard_decodes_each_image_once(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    original = shard_module.load_batch

    def counting(sources: list[str], spec: ImageSpec, *rest: Any) -> np.ndarray:
        decoded.extend(sources)
        return original(sources, spec, *rest)

    monkeypatch.setattr(shard_module, "load_batch", counting)
    block = tk.AugmentationBlock(rotation=0.2)
    ExtractionJob(small_network(48), [(split, (None, 0, 1))], augmentation=block).run()
    assert sorted(decoded) == sorted(split.paths)


def test_compute_shard_mixes_originals_and_augmented_views(split: Split) -> None:
    block = tk.AugmentationBlock(rotation=0.2)
    seeds = np.arange(12, dtype=np.uint32).reshape(6, 2)
    mask = np.array([False, True, False, True, True, False])
    indices = [0, 0, 1, 1, 2, 3]
    (rows,) = compute_shard(Shard(split, indices, seeds, mask, block), Identity())
    (all_augmented,) = compute_shard(Shard(split, indices, seeds, None, block), Identity())
    for row, (index, is_augmented) in enumerate(zip(indices, mask)):
        image = load_image(split.paths[index], SPEC)
        expected = np.asarray(block.augment(image[None], seeds[row : row + 1]))[0]
        np.testing.assert_allclose(all_augmented[row], expected.ravel(), atol=1e-3)
        np.testing.assert_allclose(rows[row], (expected if is_augmented else image).ravel(), atol=1e-3)
