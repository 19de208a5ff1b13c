"""A loaded model with its batchers."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib
from pathlib import Path
from typing import Any

from transferkit.metadata import METADATA_FILE
from transferkit.runtimes.base import PROBABILITIES, VALUES
from transferkit.serving.batcher import Batcher, BatchLimits
from transferkit.serving.metrics import Metrics
from transferkit.serving.operations import embed_images, explain_images, predict_images
from transferkit.serving.options import ServerOptions

_OPERATIONS = {"predict": predict_images, "embed": embed_images, "explain": explain_images}
# Where the predictor does not say.
_BATCH_SIZE = 32
# Explanations take many times the memory and the time of predictions.
_EXPLAIN_BATCH_SIZE = 8


class ServedModel:
    """A predictor with a queue for each operation.

    Attributes:
        name: str.
        version: str, digits that differ whenever the saved model does.
        predictor: a `Predictor`.
        neighbors: the training images, or None without.
    """

    def __init__(self, name: str, version: str, predictor: Any, options: ServerOptions, metrics: Metrics) -> None:
        self.name: str = name
        self.version: str = version
        self.predictor: Any = predictor
        self.neighbors: Any = None
        self._batchers = {
            operation: self._batcher(operation, run, options, metrics) for operation, run in _OPERATIONS.items()
        }

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the probabilities; none for numbers."""
        return tuple(self.predictor.class_names)

    @property
    def output(self) -> tuple[str, int]:
        """The name of the output and its values per image: probabilities, or one number for a model without classes."""
        return (PROBABILITIES, len(self.class_names)) if self.class_names else (VALUES, 1)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images that the model receives."""
        height, width = self.predictor.image_spec.image_size
        return int(height), int(width)

    def batcher(self, operation: str) -> Batcher:
        """Return the queue of "predict", "embed" or "explain"."""
        return self._batchers[operation]

    async def close(self, seconds: float) -> bool:
        """Finish what waits; return whether all threads ended in so many seconds."""
        return all(await asyncio.gather(*(batcher.close(seconds) for batcher in self._batchers.values())))

    def _batcher(self, operation: str, run: Any, options: ServerOptions, metrics: Metrics) -> Batcher:
        largest = _EXPLAIN_BATCH_SIZE if operation == "explain" else getattr(self.predictor, "batch_size", _BATCH_SIZE)
        limits = BatchLimits(largest, options.max_queue, options.max_batch_delay_ms / 1000)
        batcher = Batcher(
            f"{operation} {self.name}",
            functools.partial(run, self.predictor, options.pixel_limit),
            limits,
            functools.partial(metrics.observe_batch, self.name, operation),
        )
        metrics.queue.labels(self.name, operation).set_function(lambda: len(batcher))
        return batcher


def load_predictor(folder: Path, engine: str) -> Any:
    """Return the predictor of a saved classifier, ready for requests.

    Raises:
        ArtifactError: when the folder is no complete classifier.
    """
    # By its public name, and when it is called: which module loads a classifier depends on the installed runtime.
    predictor = importlib.import_module("transferkit").load(folder, engine=engine)
    predictor.warm_up()
    return predictor


def version_of(folder: Path) -> str:
    """Return digits of the metadata of a saved classifier, which contain the checksum of its model.

    Raises:
        OSError: when there are none.
    """
    return hashlib.sha256((folder / METADATA_FILE).read_bytes()).hexdigest()[:16]
