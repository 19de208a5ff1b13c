"""The unit of work of feature extraction: a fixed list of rows, computed by one pure function."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from transferkit._utils.parallel import ordered_map
from transferkit.data.examples import Split
from transferkit.engines.base import Engine
from transferkit.images.loading import load_batch

# Rows per call of the engine: large enough to hide Python, small enough to be shared among threads.
_CHUNK = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Shard:
    """A fixed list of rows: all that `compute_shard` needs, apart from the engine.

    Attributes:
        split: the images.
        image_indices: the image of each row; rows of one image are adjacent, so that it is decoded once.
        augmentation_seeds: uint32 (n, 2), the seed of each augmented row; None without augmented rows.
        augmented_mask: bool (n,), which rows are augmented views; None for all.
        augmentation: a layer with a method `augment(images, seeds)`, or None.
    """

    split: Split
    image_indices: Sequence[int]
    augmentation_seeds: np.ndarray | None = None
    augmented_mask: np.ndarray | None = None
    augmentation: Any = None


def compute_shard(
    shard: Shard, engine: Engine, *, on_progress: Callable[[int], object] | None = None
) -> tuple[np.ndarray, ...]:
    """Return the rows of a shard, one array for each output of the engine; nothing is stored.

    Args:
        shard: at least one row.
        engine: runs the frozen model.
        on_progress: called with the number of rows computed since the last call.
    """
    arrays: tuple[np.ndarray, ...] = ()
    start = 0
    # Each thread takes its chunk from files to features.
    for outputs in ordered_map(lambda rows: engine(_images(shard, rows)), _chunks(shard.image_indices)):
        # Allocated once and filled: concatenating in the end would need twice the memory.
        arrays = arrays or tuple(np.empty((len(shard.image_indices), *part.shape[1:]), part.dtype) for part in outputs)
        for array, part in zip(arrays, outputs):
            array[start : start + len(part)] = part
        start += len(outputs[0])
        if on_progress is not None:
            on_progress(len(outputs[0]))
    return arrays


def _chunks(images: Sequence[int]) -> Iterator[slice]:
    """Yield slices of at least `_CHUNK` rows, except for the last, that keep the rows of an image together."""
    start = 0
    for end in range(1, len(images) + 1):
        if end == len(images) or (end - start >= _CHUNK and images[end] != images[end - 1]):
            yield slice(start, end)
            start = end


def _images(shard: Shard, rows: slice) -> np.ndarray:
    repeats = [(image, len(list(same))) for image, same in itertools.groupby(shard.image_indices[rows])]
    indices = [image for image, _ in repeats]
    split = shard.split
    if split.paths is not None:
        images = load_batch([split.paths[index] for index in indices], split.image_spec, split.memory_cache)
    else:
        assert split.images is not None, "the images of a tf.data.Dataset cannot be read by index"
        images = split.images[indices]
    if len(indices) < rows.stop - rows.start:
        images = np.repeat(images, [count for _, count in repeats], axis=0)
    return images if shard.augmentation_seeds is None else _augment(images, shard, rows)


def _augment(images: np.ndarray, shard: Shard, rows: slice) -> np.ndarray:
    assert shard.augmentation_seeds is not None
    seeds = shard.augmentation_seeds[rows]
    if shard.augmented_mask is None:
        return np.asarray(shard.augmentation.augment(images, seeds))
    mask = shard.augmented_mask[rows]
    augmented = images.astype(np.float32)
    if mask.any():
        augmented[mask] = np.asarray(shard.augmentation.augment(images[mask], seeds[mask]))
    return augmented
