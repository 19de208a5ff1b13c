"""Extracts features: runs a frozen model once per image, and never again for rows that are cached."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from transferkit._utils.hashing import fingerprint
from transferkit._utils.progress import Progress
from transferkit.data.examples import Split
from transferkit.engines.base import Engine
from transferkit.engines.selection import compile_engine, estimate_seconds
from transferkit.features.eviction import evict
from transferkit.features.shard import Shard, compute_shard
from transferkit.features.store import FeatureArray, FeatureStore, to_storage_dtype
from transferkit.features.stored import stored_outputs
from transferkit.features.views import ORIGINAL, Row, SplitViews, View
from transferkit.modeling.fingerprint import model_fingerprint

# Changes whenever the same inputs would give other rows than before, and with the format of the files.
_VERSION = 7
# Shards are large enough that 100,000 images make few files, and small enough that an interruption loses little: this
# many bytes or seconds of work, whichever is less.
_SHARD_BYTES, _SHARD_SECONDS, _FIRST_ROWS = 64 << 20, 20.0, 1024
Arrays = tuple[np.ndarray | FeatureArray, ...]


@dataclasses.dataclass(frozen=True)
class ExtractionOptions:
    """How features are extracted.

    Attributes:
        seed: of the augmented views.
        engine, precision, batch_size: as in `compile_engine`.
        feature_dtype: "float32", or "float16" for rows of half the size, rounded to three digits.
        progress: whether a progress bar is shown.
    """

    seed: int = 0
    engine: str = "auto"
    precision: str = "float32"
    batch_size: int | None = None
    feature_dtype: str = "float32"
    progress: bool = True


class ExtractionJob:
    """The features of one or several splits: keys and missing rows are computed once.

    Rows that any process computed before are read from the store on disk; an image is decoded once for all of its
    missing views. The float32 engines agree within 1e-4 and share their rows; each precision has separate rows.

    Attributes:
        num_rows: number of rows: views times images.
        num_missing: number of rows that are not cached.
    """

    def __init__(
        self,
        model: keras.Model,
        requests: Sequence[tuple[Split, Sequence[View]]],
        *,
        augmentation: Any = None,
        options: ExtractionOptions | None = None,
    ) -> None:
        self._model, self._options = model, options or ExtractionOptions()
        self._model_id = model_fingerprint(model)
        self._requests = requests
        self._views = [
            SplitViews(split, views, augmentation, self._options.seed)
            for split, views in requests
            if split.features is None
        ]
        # Checked before anything is computed.
        self._stored: list[list[Arrays]] = [
            [stored_outputs(split, model, self._options, len(views))]
            for split, views in requests
            if split.features is not None
        ]
        stores: dict[str, FeatureStore] = {}
        self._stores: list[FeatureStore] = []
        self._missing: list[list[Row]] = []
        claimed: set[bytes] = set()
        for views in self._views:
            split = views.split
            images = split.image_spec.cache_key() if split.paths is not None else "arrays"
            parts = [_VERSION, self._model_id, images, self._options.precision, self._options.feature_dtype]
            store_id = fingerprint(json.dumps(parts))
            if store_id not in stores:
                stores[store_id] = FeatureStore(store_id)
            self._stores.append(stores[store_id])
            self._missing.append(_missing_rows(views, stores[store_id], claimed))
        self.num_rows: int = sum(len(keys) for views in self._views for keys in views.keys)
        self.num_missing: int = sum(map(len, self._missing))

    def estimate_seconds(self) -> float:
        """Return about how long the missing rows take, without decoding."""
        precision = self._options.precision
        return estimate_seconds(self._model, self.num_missing, precision=precision, model_id=self._model_id)

    def run(self) -> list[list[Arrays]]:
        """Compute the missing rows and return, for each request and view, one array for each output.

        Rows are in the order of the split, and are read from disk when they are indexed.
        """
        for store in self._stores:
            store.hold()
        if self.num_missing:
            options = self._options
            engine = compile_engine(
                self._model,
                engine=options.engine,
                precision=options.precision,
                batch_size=options.batch_size,
                count=self.num_missing,
                model_id=self._model_id,
            )
            with Progress("Extracting features", self.num_missing, enabled=options.progress) as progress:
                for views, store, missing in zip(self._views, self._stores, self._missing):
                    self._extract_missing(views, store, missing, engine, progress)
            self._missing, self.num_missing = [[] for _ in self._views], 0
            evict(keep={store.folder for store in self._stores})
        computed, stored = map(_rows_of, self._views, self._stores), iter(self._stored)
        return [next(computed if split.features is None else stored) for split, _ in self._requests]

    def _extract_missing(
        self, views: SplitViews, store: FeatureStore, missing: list[Row], engine: Engine, progress: Progress
    ) -> None:
        row_bytes = sum(4 * int(np.prod(output.shape[1:])) for output in self._model.outputs)
        for rows in _shard_rows(missing, max(256, _SHARD_BYTES // max(row_bytes, 1)), progress):
            arrays = compute_shard(views.shard(rows), engine, on_progress=progress.advance)
            keys = [views.keys[view][image] for view, image in rows]
            store.add(keys, [to_storage_dtype(array, self._options.feature_dtype) for array in arrays])


def extract_features(split: Split, model: keras.Model, options: ExtractionOptions | None = None) -> Arrays:
    """Return the outputs of a frozen model for every image of a split; see `ExtractionJob`."""
    return ExtractionJob(model, [(split, ORIGINAL)], options=options).run()[0][0]


def compute_features(split: Split, model: keras.Model, engine: Engine) -> tuple[np.ndarray, ...]:
    """Return the outputs of a frozen model for every image of a split, without reading or writing the cache."""
    return compute_shard(Shard(split, range(len(split))), engine)


def _rows_of(views: SplitViews, store: FeatureStore) -> list[Arrays]:
    return [store.rows(keys) for keys in views.keys]


def _missing_rows(views: SplitViews, store: FeatureStore, claimed: set[bytes]) -> list[Row]:
    """Return the rows that neither the store nor an earlier request has, the views of an image one after another."""
    missing = []
    for image in range(len(views.keys[0])):
        for view, keys in enumerate(views.keys):
            if keys[image] not in claimed and keys[image] not in store:
                claimed.add(keys[image])
                missing.append((view, image))
    return missing


def _shard_rows(rows: Sequence[Row], most: int, progress: Progress) -> Iterator[Sequence[Row]]:
    start, size = 0, min(most, _FIRST_ROWS)
    while start < len(rows):
        yield rows[start : start + size]
        start += size
        size = int(min(most, max(_FIRST_ROWS, _SHARD_SECONDS * progress.rate)))
