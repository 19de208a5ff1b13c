"""Saves a classifier as a folder with the model in Keras' format and a JSON file of metadata, and loads its model."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.cores import tensorflow_threads
from transferkit._utils.files import atomic_folder
from transferkit._utils.hashing import sha256_of
from transferkit._utils.text import printable
from transferkit.backbones import hub_model as hub_model  # registers the class of models that it may load
from transferkit.calibration import Calibration
from transferkit.classifier import find_augmentation
from transferkit.errors import ArtifactError, MissingExtraError
from transferkit.evaluation.regression_report import RegressionReport
from transferkit.evaluation.report import Report
from transferkit.metadata import METADATA_FILE, MODEL_FILE, Metadata, checked_model_file, invalid_artifact
from transferkit.model_card import CARD_FILE, PLOT_FILE, CardContents, write_model_card
from transferkit.modeling.dropout import disable_frozen_dropout, original_dropout_rates
from transferkit.modeling.embedding import embedding_tensor
from transferkit.modeling.keras_graph import graph_nodes, mark_called, with_input_shape
from transferkit.modeling.model_file import check_weights_are_saved, read_model
from transferkit.prediction import Predictor
from transferkit.runtimes.base import IMAGE
from transferkit.runtimes.loading import NAMES
from transferkit.training_features import FEATURES_FILE, read_features, write_features

# Names that Keras' own `save` takes for a file.
_FILE_SUFFIXES = (".keras", ".h5", ".hdf5")
_MAX_REASON = 300


@dataclasses.dataclass(frozen=True)
class TrainingDescription:
    """How a classifier was trained and evaluated, for the record and the model card.

    Attributes:
        seed: of the training.
        phases: of the training.
        images: number of training images of each class, or None where it is not known.
        report: on images that were not trained on, or None.
        labels: name, number and distribution of the training labels that are numbers, or None.
    """

    seed: int = 0
    phases: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    images: dict[str, int] | None = None
    report: Report | RegressionReport | None = None
    labels: dict[str, Any] | None = None


def save_classifier(
    folder: str | os.PathLike[str], predictor: Predictor, description: TrainingDescription | None = None
) -> Path:
    """Write a predictor's model and metadata to `folder`, which appears when it is complete; return the folder.

    Args:
        folder: a new or empty folder, or a classifier saved before without other files, which is replaced.
        predictor: the model with its class names and image spec.
        description: of the training and evaluation. Defaults to None, without any.

    Raises:
        ArtifactError: when `folder` has other contents, or the name of a file.
        StorageError: when it cannot be written, as on a full disk; a classifier saved before is kept.
        ValueError: when this version of Keras does not save all weights; a classifier saved before is kept.
    """
    target = check_folder(folder)
    description = description or TrainingDescription()
    _check_report(description.report, predictor)
    with atomic_folder(target) as staging_dir:
        with original_dropout_rates(predictor.model):
            model = _without_augmentation(predictor.model)
            model.save(staging_dir / MODEL_FILE)
        check_weights_are_saved(staging_dir / MODEL_FILE, model)
        metadata = Metadata(
            predictor.class_names,
            predictor.activation,
            predictor.image_spec,
            sha256_of(staging_dir / MODEL_FILE),
            _training_record(predictor.model, description),
            predictor.calibration,
            write_features(staging_dir, predictor.calibration),
        )
        (staging_dir / METADATA_FILE).write_text(metadata.to_json(), encoding="utf-8")
        names, size = predictor.class_names, predictor.image_spec.image_size
        calibration, report = predictor.calibration, description.report
        card = CardContents(target.absolute().name, names, size, metadata.training, calibration, report)
        write_model_card(staging_dir, target, card)
    return target


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the path of a folder in which a classifier can be saved, or raise an ArtifactError."""
    target = Path(folder)
    _check_name(target)
    _check_replaceable(target)
    return target


def load_keras(
    folder: Path, metadata: Metadata, *, engine: str = "auto", augmentation: Any = None, num_views: int = 1
) -> Predictor:
    """Return the predictor of the Keras model in a saved folder; the options are those of `Predictor`.

    Raises:
        ArtifactError: when the model is missing, damaged, or does not match its metadata.
        MissingExtraError: when its layers are those of an extra that is not installed.
    """
    model = _read_model(folder, metadata)
    # Frozen dropout layers were saved with their original rates.
    disable_frozen_dropout(model)
    predictor_args = model, metadata.class_names, metadata.image_spec
    calibration = read_features(folder, metadata)
    options: dict[str, Any] = {"activation": metadata.activation, "calibration": calibration}
    try:
        _check_model(model, metadata)
        _check_features(calibration, model)
        Predictor(*predictor_args, **options)
    except (TypeError, ValueError, AttributeError) as error:
        raise invalid_artifact(folder, f"its metadata do not match its model ({error})") from error
    return Predictor(*predictor_args, **options, engine=engine, augmentation=augmentation, num_views=num_views)


def _check_features(calibration: Calibration | None, model: Any) -> None:
    """Raise a ValueError when the training features of a calibration are not those of a model."""
    features = None if calibration is None else calibration.training_features
    if features is None:
        return
    expected = embedding_tensor(model).shape[-1]
    if features.ndim != 2 or features.dtype != np.float16 or features.shape[1] != expected or not len(features):
        raise ValueError(f"training features {features.dtype} {features.shape} for a model with {expected} features")


def _check_name(target: Path) -> None:
    """Raise an ArtifactError for the name of a file: a classifier is a folder."""
    if target.suffix.lower() in _FILE_SUFFIXES:
        raise ArtifactError(
            f"`folder` must be the name of a folder, for model, class names and image spec. Received: {str(target)!r}. "
            f"Give {target.stem!r}, or write the model alone with trainer.model.save({str(target)!r})."
        )


def _check_replaceable(target: Path) -> None:
    names: set[str] = set()
    with contextlib.suppress(OSError, ValueError):
        names = {path.name for path in target.iterdir()}
    others = names - {METADATA_FILE, MODEL_FILE, FEATURES_FILE, CARD_FILE, PLOT_FILE, *NAMES.values()}
    if names and (others or METADATA_FILE not in names):
        raise ArtifactError(
            "`folder` must be new, empty, or a classifier saved before without other files. Received: "
            f"{str(target)!r}, which has {min(others or names)!r}. Choose another folder."
        )


def _check_model(model: keras.Model, metadata: Metadata) -> None:
    """Raise a ValueError when a model is not one from images of the metadata's size to logits."""
    shapes = [tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs)]
    if len(shapes) != 2 or len(shapes[0]) != 4 or shapes[0][3] != 3 or len(shapes[1]) != 2:
        raise ValueError(f"inputs and outputs of the shapes {shapes}")
    size = metadata.image_spec.image_size
    if any(side not in (None, expected) for side, expected in zip(shapes[0][1:3], size)):
        raise ValueError(f"images of {size} for a model of {shapes[0][1:3]}")


def _check_report(report: Any, predictor: Predictor) -> None:
    """Raise a TypeError or ValueError when a report is not one of the classifier."""
    kind = RegressionReport if predictor.target == "number" else Report
    if report is not None and not isinstance(report, kind):
        raise TypeError(
            f"`report` must be a {kind.__name__}. Received: {type(report).__name__}. Give trainer.evaluate(data.test)."
        )
    if isinstance(report, Report) and report.class_names != predictor.class_names:
        raise ValueError(
            f"`report` must have the classes of the classifier. Received: {list(report.class_names[:5])!r}, and the "
            f"classifier has {list(predictor.class_names[:5])!r}. Give trainer.evaluate(data.test)."
        )


def _training_record(model: keras.Model, description: TrainingDescription) -> dict[str, Any]:
    augmentation = find_augmentation(model)
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__}
    return {
        "seed": description.seed,
        "phases": description.phases,
        "images": description.images,
        **({} if description.labels is None else {"labels": description.labels}),
        "augmentation": None if augmentation is None else augmentation.get_config(),
        # The same results need the same number of threads: another one adds in another order.
        "threads": tensorflow_threads(),
        "versions": versions,
    }


def _without_augmentation(model: keras.Model) -> keras.Model:
    """Return the model for inference: augmentation is part of training, and needs this package to load."""
    augmentation = find_augmentation(model)
    if augmentation is None:
        return model
    # The layer's own `output` is that of its first call, which may be in another model.
    node = next(node for node in graph_nodes(model) if node.layer is augmentation)
    rest = keras.Model(node.outputs[0], model.output, name=model.name)
    return with_input_shape(rest, rest.input_shape[1:], IMAGE)


def _read_model(folder: Path, metadata: Metadata) -> keras.Model:
    try:
        return mark_called(read_model(checked_model_file(folder, metadata)))
    except (OSError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        missing = _missing_extra(error)
        if missing is not None:
            raise missing from error
        reason = printable(str(error).strip().partition("\n")[0])[:_MAX_REASON]
        raise invalid_artifact(folder, f"{MODEL_FILE} cannot be loaded ({reason})") from error


def _missing_extra(error: BaseException | None) -> MissingExtraError | None:
    """Return the MissingExtraError that led to an error of Keras, or None."""
    while error is not None and not isinstance(error, MissingExtraError):
        error = error.__cause__ or error.__context__
    return error
