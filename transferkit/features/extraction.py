"""Running a frozen model over images once, and never again: features of any number of images, in order."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from transferkit._utils.progress import Progress
from transferkit.data.examples import Split
from transferkit.engines import Engine, compile_engine
from transferkit.features.eviction import evict
from transferkit.features.half import to_storage_dtype
from transferkit.features.shard import Shard, compute_shard
from transferkit.features.store import FeatureArray, FeatureStore
from transferkit.modeling.fingerprint import model_fingerprint

# Changes whenever the same inputs would give other rows than before.
_VERSION = 5
# A shard is large enough that a hundred thousand images make few files, and small enough that little is lost when the
# work is interrupted: so many bytes or seconds of work, whichever is less.
_SHARD_BYTES, _SHARD_SECONDS, _FIRST_ROWS = 64 << 20, 20.0, 1024
Arrays = tuple[np.ndarray | FeatureArray, ...]
View = int | str | None
# Every image once, half of them as they are and half in a draw. Which, follows from the contents.
HALF = "half"
# A row of the work to do: number of the view, and place of the image.
Row = tuple[int, int]


class LazyEngine:
    """An engine that is made when it is first needed, and then shared.

    Args:
        model, engine, precision, batch_size, identity: as `compile_engine` takes them.
        count: gives the number of rows to come in all, asked when the engine is made; by default those of the call that
            needs it first.
    """

    def __init__(
        self,
        model: keras.Model,
        engine: str,
        precision: str,
        batch_size: int | None = None,
        *,
        count: Callable[[], int] | None = None,
        identity: str | None = None,
    ) -> None:
        options: dict[str, Any] = {"engine": engine, "precision": precision, "batch_size": batch_size}
        self._make = functools.partial(compile_engine, model, identity=identity, **options)
        self._count = count
        self._made: Engine | None = None

    def ready(self, count: int) -> Engine:
        """Return the engine, made for `count` rows if no other number was given."""
        if self._made is None:
            self._made = self._make(count=self._count() if self._count else count)
        return self._made


def extract_features(split: Split, model: keras.Model, **options: Any) -> Arrays:
    """Return what a frozen model gives for every image of a split as it is; see `extract_views`."""
    return extract_views(split, model, **options)[0]


def extract_views(
    split: Split,
    model: keras.Model,
    *,
    views: Sequence[View] = (None,),
    augmentation: Any = None,
    seed: int = 0,
    identity: str | None = None,
    engine: str | LazyEngine = "auto",
    precision: str = "float32",
    batch_size: int | None = None,
    store: bool = True,
    progress: bool = True,
    feature_dtype: str = "float32",
) -> list[Arrays]:
    """Return what a frozen model gives for every image of a split, as it is and in augmented draws.

    Rows that were computed before, by any process, are read from the store on disk; only what is new is computed, and
    an image is decoded once for all views of it. The float32 engines agree within 1e-4 and share their rows; each
    precision has rows of its own.

    Args:
        split: the images.
        model: from float32 images (batch, height, width, 3), RGB in [0, 255], to one or several outputs.
        views: None for the images as they are, a number from 0 for the augmented draw of that number, `HALF` for one
            half of the images as they are and the other in their first draw.
        augmentation: a layer with a method `draw(images, seeds)`; or None where no draws are wanted.
        seed: of the draws.
        identity: of the model, where it was worked out already; see `model_fingerprint`.
        engine: as `compile_engine` takes it, or a `LazyEngine` of the model, for several calls to share.
        precision, batch_size: as `compile_engine` takes them.
        store: whether rows are read from and kept in the store.
        progress: whether a line is shown when it takes more than a few seconds.
        feature_dtype: "float32", or "float16" for rows of half the size, rounded to three digits.

    Returns:
        For each view one array for each output, of that type, rows in the order of the split; those in the store are
        read from disk as they are used.
    """
    identity = identity or (model_fingerprint(model) if store else None)
    if isinstance(engine, str):
        engine = LazyEngine(model, engine, precision, batch_size, identity=identity)
    work = _Work(split, views, augmentation, seed)
    if not store:
        return _unstored(work, engine, feature_dtype)
    kept = _store(split, identity, precision, feature_dtype)
    missing = work.missing(kept)
    if missing:
        _fill(kept, work, missing, engine.ready(len(missing)), _rows_a_shard(model), progress, feature_dtype)
        evict(keep=kept.folder)
        kept.refresh()
    return [kept.rows(keys) for keys in work.keys]


def missing_rows(
    split: Split,
    identity: str,
    *,
    views: Sequence[View] = (None,),
    augmentation: Any = None,
    seed: int = 0,
    precision: str = "float32",
    feature_dtype: str = "float32",
) -> int:
    """Return how many rows `extract_views` would have to compute, all others being in the store.

    Args:
        identity: of the model, by `model_fingerprint`.
        split, views, augmentation, seed, precision, feature_dtype: as `extract_views` takes them.
    """
    work = _Work(split, views, augmentation, seed)
    return len(work.missing(_store(split, identity, precision, feature_dtype)))


class _Work:
    """Which rows are wanted, under which keys, and which of them are augmented draws."""

    def __init__(self, split: Split, views: Sequence[View], augmentation: Any, seed: int) -> None:
        self.split, self.views, self.augmentation, self._seed = split, views, augmentation, seed

    @functools.cached_property
    def keys(self) -> list[list[bytes]]:
        """For each view what stands for each of its rows; read from all files, so only where it is needed."""
        config = b"" if self.augmentation is None else _config(self.augmentation)
        contents, seed = self._contents, self._seed
        return [
            [_draw_key(key, config, seed, view) if is_draw else key for key, is_draw in zip(contents, drawn)]
            for view, drawn in zip(self.views, self.drawn)
        ]

    @functools.cached_property
    def drawn(self) -> list[np.ndarray]:
        """For each view which of its rows are augmented draws."""
        return [self._drawn(view) for view in self.views]

    def missing(self, store: FeatureStore) -> list[Row]:
        """Return the rows that `store` does not hold, all views of an image one after another."""
        rows = [(number, place) for number, keys in enumerate(self.keys) for place in store.missing(keys)]
        return sorted(rows, key=lambda row: (row[1], row[0]))

    def keys_of(self, rows: Sequence[Row]) -> list[bytes]:
        """Return the keys of `rows`."""
        return [self.keys[number][place] for number, place in rows]

    def shard(self, rows: Sequence[Row]) -> Shard:
        """Return the shard of `rows`, which are ordered by place."""
        places = [place for _, place in rows]
        drawn = np.array([self.drawn[number][place] for number, place in rows])
        if not drawn.any():
            return Shard(self.split, places)
        # A draw follows from its key, and so from the contents: one more photo changes no other's.
        seeds = np.frombuffer(b"".join(key[:8] for key in self.keys_of(rows)), np.uint32).reshape(-1, 2)
        return Shard(self.split, places, seeds, drawn, self.augmentation)

    @functools.cached_property
    def _contents(self) -> Sequence[bytes]:
        return self.split.keys()

    def _drawn(self, view: View) -> np.ndarray:
        if view == HALF:
            return np.array([key[0] % 2 == 1 for key in self._contents])
        return np.full(len(self.split), view is not None)


def _unstored(work: _Work, engine: LazyEngine, feature_dtype: str) -> list[Arrays]:
    rows = [(number, place) for place in range(len(work.split)) for number in range(len(work.views))]
    arrays = compute_shard(work.shard(rows), engine.ready(len(rows)))
    kept = [to_storage_dtype(array, feature_dtype) for array in arrays]
    return [tuple(array[number :: len(work.views)] for array in kept) for number in range(len(work.views))]


def _fill(
    store: FeatureStore,
    work: _Work,
    missing: Sequence[Row],
    engine: Engine,
    most_rows: int,
    shown: bool,
    feature_dtype: str,
) -> None:
    with Progress("Running the frozen part", len(missing), shown=shown) as progress:
        for rows in _portions(missing, most_rows, progress):
            arrays = compute_shard(work.shard(rows), engine, advance=progress.advance)
            store.add(work.keys_of(rows), [to_storage_dtype(array, feature_dtype) for array in arrays])


def _portions(rows: Sequence[Row], most: int, progress: Progress) -> Iterator[Sequence[Row]]:
    start, size = 0, min(most, _FIRST_ROWS)
    while start < len(rows):
        yield rows[start : start + size]
        start += size
        size = int(min(most, max(_FIRST_ROWS, _SHARD_SECONDS * progress.rate)))


def _draw_key(key: bytes, config: bytes, seed: int, view: View) -> bytes:
    number = 0 if view == HALF else view
    return hashlib.blake2b(key + config + f"{seed}:{number}".encode(), digest_size=32).digest()


def _config(augmentation: Any) -> bytes:
    # The layer's own seed is that of ordinary training; draws have theirs in their keys.
    apart = ("name", "trainable", "seed")
    config = {key: value for key, value in augmentation.get_config().items() if key not in apart}
    return json.dumps(config, sort_keys=True, default=str).encode()


def _store(split: Split, identity: str | None, precision: str, feature_dtype: str) -> FeatureStore:
    pixels = split.image_spec.cache_key() if split.paths is not None else "arrays"
    parts = json.dumps([_VERSION, identity, pixels, precision, feature_dtype])
    store = FeatureStore(hashlib.blake2b(parts.encode(), digest_size=16).hexdigest())
    store.refresh()
    return store


def _rows_a_shard(model: keras.Model) -> int:
    size = sum(4 * int(np.prod(output.shape[1:])) for output in model.outputs)
    return max(256, _SHARD_BYTES // max(size, 1))
