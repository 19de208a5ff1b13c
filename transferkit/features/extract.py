"""Running a frozen model over images once, and never again: features of any number of images, in order."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from transferkit.data.pixels import pixel_batches
from transferkit.data.records import Split
from transferkit.features.engines import Engine, compile_engine
from transferkit.features.half import as_stored
from transferkit.features.identity import model_identity
from transferkit.features.store import FeatureStore, StoredArray, make_room

__all__ = ["LazyEngine", "Shard", "compute_shard", "feature_arrays"]

# Changes whenever the same inputs would give other rows than before.
_VERSION = 2
# A shard is large enough that a hundred thousand images make few files, and small enough that little is lost.
_SHARD_BYTES = 64 << 20
Arrays = tuple[np.ndarray | StoredArray, ...]


@dataclasses.dataclass(frozen=True)
class Shard:
    """A fixed list of images, and how they become rows: all that `compute_shard` needs besides the engine.

    Attributes:
        split: where the images come from.
        places: which of its images, in order.
        seeds: one pair of numbers for each image's augmented draw, or None for the images as they are.
        augmentation: the layer that draws, or None.
    """

    split: Split
    places: tuple[int, ...]
    seeds: np.ndarray | None = None
    augmentation: Any = None


class LazyEngine:
    """An engine that is made when it is first needed, and then shared.

    Args:
        model, engine, precision, batch_size: as `compile_engine` takes them.
        count: number of images to come in all; by default those of the call that needs it first.
    """

    def __init__(
        self, model: keras.Model, engine: str, precision: str, batch_size: int = 32, count: int | None = None
    ) -> None:
        self._make = functools.partial(compile_engine, model, engine=engine, precision=precision, batch_size=batch_size)
        self._count = count
        self._made: Engine | None = None

    def ready(self, count: int) -> Engine:
        """Return the engine, made for `count` images if no other number was given."""
        if self._made is None:
            self._made = self._make(count=self._count or count)
        return self._made


def compute_shard(shard: Shard, engine: Engine) -> tuple[np.ndarray, ...]:
    """Return the rows of a shard, one array for each output; nothing else is read, changed or kept."""
    arrays: tuple[np.ndarray, ...] = ()
    done = 0
    for images in _images(shard, engine.batch_size):
        outputs = engine(images)
        # Made once and filled: batches that are put together in the end would be in memory twice.
        arrays = arrays or tuple(np.empty((len(shard.places), *part.shape[1:]), part.dtype) for part in outputs)
        for array, part in zip(arrays, outputs):
            array[done : done + len(part)] = part
        done += len(images)
    return arrays


def feature_arrays(
    split: Split,
    model: keras.Model,
    *,
    identity: str | None = None,
    augmentation: Any = None,
    seed: int = 0,
    view: int | None = None,
    engine: str | LazyEngine = "auto",
    precision: str = "float32",
    batch_size: int = 32,
    store: bool = True,
    progress: bool = True,
    feature_dtype: str = "float32",
) -> Arrays:
    """Return what a frozen model gives for every image of a split.

    Rows that were computed before, by any process, are read from the store on disk; only what is new is computed.
    The float32 engines agree within 1e-4 and share their rows; each precision has rows of its own.

    Args:
        split: the images.
        model: from float32 images (batch, height, width, 3), RGB in [0, 255], to one or several outputs.
        identity: of the model, where it was worked out already; see `model_identity`.
        augmentation: a layer with a method `draw(images, seeds)`, for the draw number `view` of each image; or None.
        seed: of the draws.
        view: number of the draw, from 0.
        engine: as `compile_engine` takes it, or a `LazyEngine` of the model, for several calls to share.
        precision, batch_size: as `compile_engine` takes them.
        store: whether rows are read from and kept in the store.
        progress: whether a bar is shown when it takes more than a few seconds.
        feature_dtype: "float32", or "float16" for rows of half the size, rounded to three digits.

    Returns:
        One array for each output, of that type, rows in the order of the split; read from disk as they are used.
    """
    keys = split.keys()
    seeds = None if augmentation is None else _draw_seeds(keys, seed, view or 0)
    if isinstance(engine, str):
        engine = LazyEngine(model, engine, precision, batch_size)
    if not store:
        arrays = compute_shard(Shard(split, tuple(range(len(keys))), seeds, augmentation), engine.ready(len(keys)))
        return tuple(as_stored(array, feature_dtype) for array in arrays)
    numbers = precision, feature_dtype
    kept = FeatureStore(_store_identity(split, identity or model_identity(model), augmentation, seed, view, numbers))
    kept.refresh()
    missing = kept.missing(keys)
    if missing:
        compiled = engine.ready(len(missing))
        _fill(kept, keys, missing, split, seeds, augmentation, compiled, _rows_a_shard(model), progress, feature_dtype)
        make_room(keep=kept.folder)
        kept.refresh()
    return kept.rows(keys)


def _fill(
    kept: FeatureStore,
    keys: Sequence[bytes],
    missing: Sequence[int],
    split: Split,
    seeds: np.ndarray | None,
    augmentation: Any,
    engine: Engine,
    rows: int,
    progress: bool,
    feature_dtype: str,
) -> None:
    started = shown = time.monotonic()
    for start in range(0, len(missing), rows):
        places = tuple(missing[start : start + rows])
        shard = Shard(split, places, None if seeds is None else seeds[list(places)], augmentation)
        arrays = [as_stored(array, feature_dtype) for array in compute_shard(shard, engine)]
        kept.add([keys[place] for place in places], arrays)
        now = time.monotonic()
        if progress and now - started > 3 and now - shown > 0.5:
            shown = now
            done = start + len(places)
            left = (now - started) / done * (len(missing) - done)
            line = f"\rRunning the frozen part: {done:,} of {len(missing):,} images, {left:.0f} s left "
            print(line, end="" if done < len(missing) else "\n", file=sys.stderr, flush=True)


def _images(shard: Shard, batch_size: int) -> Iterator[np.ndarray]:
    starts = range(0, len(shard.places), batch_size)
    if shard.split.paths is not None:
        batches = pixel_batches(shard.split.paths, shard.split.pixels, batch_size=batch_size, order=shard.places)
    else:
        source = shard.split.images
        assert source is not None, "a stream's images must be read before they are run"
        batches = (source[list(shard.places[start : start + batch_size])] for start in starts)
    if shard.augmentation is None or shard.seeds is None:
        yield from batches
        return
    # The next batch is drawn while the engine runs on this one.
    with ThreadPoolExecutor(max_workers=1) as pool:
        drawn = (
            pool.submit(shard.augmentation.draw, images, shard.seeds[start : start + batch_size])
            for start, images in zip(starts, batches)
        )
        ahead = next(drawn, None)
        while ahead is not None:
            current, ahead = ahead, next(drawn, None)
            yield np.asarray(current.result())


def _draw_seeds(keys: Sequence[bytes], seed: int, view: int) -> np.ndarray:
    """Return (n, 2) uint32: each image's draw follows from its contents, so one more photo changes no other's."""
    words = b"".join(hashlib.blake2b(key + f"{seed}:{view}".encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(words, np.uint32).reshape(-1, 2)


def _store_identity(
    split: Split, identity: str, augmentation: Any, seed: int, view: int | None, numbers: tuple[str, str]
) -> str:
    pixels = split.pixels.identity() if split.paths is not None else "arrays"
    config = None
    if augmentation is not None:
        config = {key: value for key, value in augmentation.get_config().items() if key not in ("name", "trainable")}
    parts = [_VERSION, identity, pixels, numbers, config, (seed, view) if config is not None else None]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def _rows_a_shard(model: keras.Model) -> int:
    size = sum(4 * int(np.prod(output.shape[1:])) for output in model.outputs)
    return max(256, _SHARD_BYTES // max(size, 1))
