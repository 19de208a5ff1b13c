"""The unit of work: a fixed list of rows and how they are made, turned into arrays by one plain function."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from transferkit.data.examples import Split
from transferkit.engines import Engine
from transferkit.images.loading import decoded, threads

# Rows that one thread makes in a go: enough to keep Python out of the way, few enough to share among threads.
_CHUNK = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Shard:
    """A fixed list of rows: all that `compute_shard` needs besides the engine.

    Attributes:
        split: where the images come from.
        places: which of its images, one for each row; an image that is wanted several times comes in rows that
            follow each other, and is decoded once.
        seeds: (n, 2), of each row's augmented draw; None where no row is one.
        drawn: bool (n,), which rows are augmented draws, the others being the images as they are; None for all.
        augmentation: the layer that draws, or None.
    """

    split: Split
    places: Sequence[int]
    seeds: np.ndarray | None = None
    drawn: np.ndarray | None = None
    augmentation: Any = None

    def __len__(self) -> int:
        return len(self.places)


def compute_shard(
    shard: Shard, engine: Engine, *, advance: Callable[[int], object] | None = None
) -> tuple[np.ndarray, ...]:
    """Return the rows of a shard, one array for each output; nothing else is read, changed or kept.

    Args:
        shard: what to compute, of at least one row.
        engine: what runs the frozen part.
        advance: called with the number of rows that were done since it was called last.
    """
    arrays: tuple[np.ndarray, ...] = ()
    for start, outputs in _computed(shard, engine):
        # Made once and filled: batches that are put together in the end would be in memory twice.
        arrays = arrays or tuple(np.empty((len(shard), *part.shape[1:]), part.dtype) for part in outputs)
        for array, part in zip(arrays, outputs):
            array[start : start + len(part)] = part
        if advance is not None:
            advance(len(outputs[0]))
    return arrays


def _computed(shard: Shard, engine: Engine) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    """Yield the rows of one chunk after another.

    Each thread takes its chunk all the way, from files to features; one more of them than cores, so that none idles
    while a file is read.
    """
    pending: deque[tuple[int, Future[tuple[np.ndarray, ...]]]] = deque()
    workers = threads()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for rows in _chunks(shard.places):
                pending.append((rows.start, pool.submit(_run, shard, rows, engine)))
                if len(pending) > 2 * workers:
                    start, future = pending.popleft()
                    yield start, future.result()
            while pending:
                start, future = pending.popleft()
                yield start, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _chunks(places: Sequence[int]) -> Iterator[slice]:
    """Yield slices of at least `_CHUNK` rows, but for the last, that part no image's rows from each other."""
    start = 0
    for end in range(1, len(places) + 1):
        if end == len(places) or (end - start >= _CHUNK and places[end] != places[end - 1]):
            yield slice(start, end)
            start = end


def _run(shard: Shard, rows: slice, engine: Engine) -> tuple[np.ndarray, ...]:
    return engine(_images(shard, rows))


def _images(shard: Shard, rows: slice) -> np.ndarray:
    repeats = [(place, len(list(same))) for place, same in itertools.groupby(shard.places[rows])]
    places = [place for place, _ in repeats]
    if shard.split.paths is not None:
        images = decoded([shard.split.paths[place] for place in places], shard.split.image_spec)
    else:
        assert shard.split.images is not None, "a stream's images must be read before they are run"
        images = shard.split.images[places]
    if len(places) < rows.stop - rows.start:
        images = np.repeat(images, [count for _, count in repeats], axis=0)
    return images if shard.seeds is None else _varied(images, shard, rows)


def _varied(images: np.ndarray, shard: Shard, rows: slice) -> np.ndarray:
    assert shard.seeds is not None
    if shard.drawn is None:
        return np.asarray(shard.augmentation.draw(images, shard.seeds[rows]))
    drawn = shard.drawn[rows]
    varied = images.astype(np.float32)
    if drawn.any():
        varied[drawn] = np.asarray(shard.augmentation.draw(images[drawn], shard.seeds[rows][drawn]))
    return varied
