"""The two kinds of work on a shard, features and predictions: from images to columns, in any process."""

from __future__ import annotations

import abc
import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferkit._utils.files import parse_json
from transferkit._utils.hashing import fingerprint
from transferkit._utils.parallel import ordered_map
from transferkit.calibration import Calibration
from transferkit.engines.base import Engine
from transferkit.engines.selection import compile_engine
from transferkit.errors import ImageError
from transferkit.images.loading import load_images
from transferkit.images.spec import ImageSpec
from transferkit.modeling.fingerprint import model_fingerprint
from transferkit.modeling.model_file import read_model
from transferkit.prediction import Predictor
from transferkit.sharding.manifest import Manifest
from transferkit.sharding.shard_table import ERROR, FEATURES

_LOG = logging.getLogger("transferkit")
# Images that a thread takes together.
_CHUNK = 16
_MODEL, _SETTINGS, _TRAINING_FEATURES = "model.keras", "task.json", "training_features.npy"


class Task(abc.ABC):
    """The computation for each image.

    Attributes:
        kind: of the job.
        columns: of the tables.
    """

    kind: str
    columns: tuple[str, ...]

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return digits that differ whenever the columns of an image could."""

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what the readers of the results need to know, as plain values."""

    def start(self, count: int, engine: str = "auto") -> str:
        """Create and verify an engine for `count` images; return its name.

        Where `engine` is not available, as on another kind of machine, it is the fastest of this machine.
        """
        try:
            return self._start(count, engine)
        except Exception as error:  # An installation that is damaged fails in any way
            if engine == "auto":
                raise
            _LOG.warning(
                "The engine %r is not available (%s: %s). Another one is used.", engine, type(error).__name__, error
            )
            return self._start(count, "auto")

    @abc.abstractmethod
    def _start(self, count: int, engine: str) -> str: ...

    @abc.abstractmethod
    def compute(self, rows: Manifest, sources: Sequence[Any]) -> dict[str, Any]:
        """Return the columns of some images, given as bytes, paths or errors."""

    @abc.abstractmethod
    def save(self, folder: Path) -> None:
        """Write all that another process needs."""


class FeatureTask(Task):
    """The pooled features of a backbone.

    Args:
        model: from images to features (n, size).
        image_spec: how images are decoded.
        precision: as in `compile_engine`.
    """

    kind = "features"

    def __init__(self, model: keras.Model, image_spec: ImageSpec, precision: str) -> None:
        self._model, self._image_spec, self._precision = model, image_spec, precision
        self._engine: Engine | None = None
        self.columns = ("path", "label", FEATURES, ERROR)

    def fingerprint(self) -> str:
        """Return digits that differ whenever the features of an image could."""
        return fingerprint(model_fingerprint(self._model), self._image_spec.cache_key(), self._precision)

    def describe(self) -> dict[str, Any]:
        """Return the fingerprint of the model, the image spec and the precision."""
        return {
            "model": model_fingerprint(self._model),
            "image_spec": self._image_spec.to_dict(),
            "precision": self._precision,
        }

    def _start(self, count: int, engine: str) -> str:
        self._engine = compile_engine(self._model, engine=engine, precision=self._precision, count=count)
        return self._engine.name

    def compute(self, rows: Manifest, sources: Sequence[Any]) -> dict[str, Any]:
        """Return paths, labels, features and errors."""
        assert self._engine is not None, "start() creates the engine"
        engine, spec = self._engine, self._image_spec

        def compute(part: Sequence[Any]) -> tuple[np.ndarray, list[str | None]]:
            images, errors = decode(part, spec)
            (features,) = engine(images)
            return features.astype(np.float32), errors

        # Each thread takes its images from files to features.
        parts = list(ordered_map(compute, _parts(sources, _CHUNK)))
        labels = rows.labels or (None,) * len(rows)
        features = np.concatenate([part for part, _ in parts])
        return {"path": rows.paths, "label": labels, FEATURES: features, ERROR: [e for _, part in parts for e in part]}

    def save(self, folder: Path) -> None:
        """Write the model and the settings."""
        self._model.save(folder / _MODEL)
        _write(folder, {"kind": self.kind, "image_spec": self._image_spec.to_dict(), "precision": self._precision})


class PredictionTask(Task):
    """The predictions of a classifier.

    Args:
        predictor: the classifier.
        probabilities: whether there is a column for each class.
    """

    kind = "predictions"

    def __init__(self, predictor: Predictor, probabilities: bool) -> None:
        self._predictor, self._probabilities = predictor, probabilities
        self._names = [name for name in predictor.outputs.columns(probabilities) if name != "path"]
        self.columns = ("path", "true_label", *self._names)

    def fingerprint(self) -> str:
        """Return digits that differ whenever the prediction of an image could."""
        return fingerprint(self._predictor.fingerprint(), self._predictor.batch_size)

    def describe(self) -> dict[str, Any]:
        """Return the image spec."""
        return {"image_spec": self._predictor.image_spec.to_dict()}

    def _start(self, count: int, engine: str) -> str:
        # The predictor's own choice, unless it is the one for a job that was begun.
        predictor = self._predictor if engine == "auto" else self._predictor.with_engines([engine])
        (name,) = predictor.engines_for(count)
        self._predictor = predictor.with_engines([name])
        return name

    def compute(self, rows: Manifest, sources: Sequence[Any]) -> dict[str, Any]:
        """Return paths, labels, the columns of `Predictor.predict_to`, and errors."""
        predictor = self._predictor
        parts = ordered_map(lambda part: decode(part, predictor.image_spec), _parts(sources, _CHUNK))
        loaded: list[np.ndarray | ImageError] = []
        for images, errors in parts:
            paths = rows.paths[len(loaded) :]
            loaded += [
                image if error is None else ImageError(path, error) for path, image, error in zip(paths, images, errors)
            ]
        values = [one._row() for one in predictor._predict_decoded(rows.paths, loaded)]
        columns = {name: [row[name] for row in values] for name in self._names}
        return {"path": rows.paths, "true_label": rows.labels or (None,) * len(rows), **columns}

    def save(self, folder: Path) -> None:
        """Write the model, its class names, decoding and calibration."""
        predictor = self._predictor
        predictor.model.save(folder / _MODEL)
        calibration = predictor.calibration
        if calibration is not None and calibration.training_features is not None:
            np.save(folder / _TRAINING_FEATURES, calibration.training_features)
        settings = {
            "class_names": list(predictor.class_names),
            "activation": predictor.activation,
            "batch_size": predictor.batch_size,
            "image_spec": predictor.image_spec.to_dict(),
            "calibration": None if calibration is None else calibration.to_dict(),
            "probabilities": self._probabilities,
        }
        _write(folder, {"kind": self.kind, **settings})


def load_task(folder: Path) -> Task:
    """Return the task that `Task.save` wrote."""
    settings = parse_json((folder / _SETTINGS).read_bytes())
    model, image_spec = read_model(folder / _MODEL), ImageSpec.from_dict(settings["image_spec"])
    if settings["kind"] == FeatureTask.kind:
        return FeatureTask(model, image_spec, settings["precision"])
    calibration = None if settings["calibration"] is None else Calibration.from_dict(settings["calibration"])
    if calibration is not None and (folder / _TRAINING_FEATURES).exists():
        features = np.load(folder / _TRAINING_FEATURES, allow_pickle=False)
        calibration = dataclasses.replace(calibration, training_features=features)
    predictor = Predictor(
        model,
        settings["class_names"],
        image_spec,
        activation=settings["activation"],
        batch_size=settings["batch_size"],
        calibration=calibration,
    )
    return PredictionTask(predictor, settings["probabilities"])


def decode(sources: Sequence[Any], image_spec: ImageSpec) -> tuple[np.ndarray, list[str | None]]:
    """Return uint8 (n, height, width, 3) and the reason of each image that cannot be read, which is black.

    A shard has the same batches with and without it: the digits of an image may depend on those next to it.
    """
    images = np.zeros((len(sources), *image_spec.image_size, 3), np.uint8)
    errors = [f"it cannot be read ({source})" if isinstance(source, OSError) else None for source in sources]
    readable = [row for row, error in enumerate(errors) if error is None]
    for row, image in zip(readable, load_images([sources[row] for row in readable], image_spec)):
        if isinstance(image, ImageError):
            errors[row] = image.reason
        else:
            images[row] = image
    return images, errors


def _parts(sources: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (sources[start : start + size] for start in range(0, len(sources), size))


def _write(folder: Path, settings: dict[str, Any]) -> None:
    (folder / _SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
