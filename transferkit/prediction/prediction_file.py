"""Predictions of any number of images in a file, which an interruption does not lose."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from transferkit._utils.files import lock
from transferkit._utils.hashing import fingerprint
from transferkit._utils.progress import Progress
from transferkit.prediction.engine_cache import ASSUMED_COUNT
from transferkit.prediction.partial_table import PartialTable
from transferkit.prediction.table_formats import table_format

# Changes whenever the rows of the same predictions would.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class PredictionFile:
    """A complete file of predictions.

    Attributes:
        path: str.
        images: int, number of rows.
        errors: int, number of images without a prediction.
    """

    path: str
    images: int
    errors: int

    def __repr__(self) -> str:
        errors = f"{self.errors:,} error{'' if self.errors == 1 else 's'}"
        return f"PredictionFile({self.path!r}, {self.images:,} images, {errors})"


def write_predictions(
    classifier: Any, sources: list[Any] | Iterator[Any], path: str | os.PathLike[str], probabilities: bool
) -> PredictionFile:
    """Write the predictions of an `ImageClassifier` to `path`, continuing an interrupted call."""
    target = Path(path)
    file_format = table_format(target)
    columns = classifier.outputs.columns(probabilities)
    total = len(sources) if isinstance(sources, list) else None
    identity = fingerprint(_VERSION, classifier.fingerprint(), *columns, classifier.rows_per_batch, total is None)
    with lock(f"{target}.lock"):
        table = PartialTable(target, file_format, columns, identity)
        engines = table.stored_engines()
        if engines is not None:
            # Another engine would give other digits than those of the rows before.
            classifier = classifier.with_engines(engines)
        progress, remaining = _resume(table, sources, classifier.rows_per_batch)
        if engines is None:
            table.start(classifier.engines_for(total or ASSUMED_COUNT))
        predictions = classifier._iter_sources(remaining, total or ASSUMED_COUNT, streamed=total is None)
        with table, Progress("Predicting", None if total is None else total - progress) as bar:
            for rows in _in_batches(predictions, classifier.rows_per_batch):
                table.write([one._row() for one in rows])
                bar.advance(len(rows))
        table.complete()
    return PredictionFile(os.fspath(path), table.rows, table.errors)


def _resume(table: PartialTable, sources: Iterable[Any], step: int) -> tuple[int, Iterator[Any]]:
    """Keep the rows of whole batches that were written for the first of `sources`; return their number and the rest.

    Whole batches, because the digits of a prediction may depend on the other images of its batch.
    """
    iterator = iter(sources)
    batch: list[Any] = []
    kept = 0
    # The table comes first: where its rows end, no source is taken.
    for name, source in zip(table.stored_paths(), iterator):
        batch.append(source)
        if _path_of(source) != name:
            break
        if len(batch) == step:
            kept, batch = kept + step, []
    table.keep(kept)
    return kept, itertools.chain(batch, iterator)


def _path_of(source: Any) -> str:
    path = source if isinstance(source, str) else getattr(source, "path", None)
    return path if isinstance(path, str) else ""


def _in_batches(predictions: Iterator[Any], size: int) -> Iterator[list[Any]]:
    return iter(lambda: list(itertools.islice(predictions, size)), [])
