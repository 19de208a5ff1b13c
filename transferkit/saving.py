"""Saves and loads a classifier: a folder with the model in Keras' format and a JSON file of metadata."""

from __future__ import annotations

import os
import platform
import zipfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.files import atomic_folder
from transferkit._utils.hashing import sha256_of
from transferkit.classifier import find_augmentation
from transferkit.errors import ArtifactError
from transferkit.metadata import METADATA_FILE, Metadata, invalid_artifact, read_metadata
from transferkit.modeling.freezing import disable_frozen_dropout, original_dropout_rates
from transferkit.modeling.keras_graph import graph_nodes
from transferkit.prediction import Predictor

_MODEL_FILE = "model.keras"
# Far above the size of the configuration of any real model.
_MAX_CONFIG_BYTES = 64 << 20


def save_classifier(
    folder: str | os.PathLike[str], predictor: Predictor, phases: list[dict[str, Any]], *, seed: int
) -> Path:
    """Write a predictor's model and metadata to `folder`, which appears when it is complete; return the folder.

    Args:
        folder: a new or empty folder, or a classifier saved before, which is replaced.
        predictor: the model with its class names and image spec.
        phases: the phases of training, for the record.
        seed: of the training, for the record.

    Raises:
        ArtifactError: when `folder` has other contents.
    """
    target = Path(folder)
    if target.exists() and not (target / METADATA_FILE).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ArtifactError(
            f"`folder` must be new, empty, or a classifier saved before. Received: {str(target)!r}, which has other "
            "contents. Choose another folder."
        )
    with atomic_folder(target) as staging_dir:
        with original_dropout_rates(predictor.model):
            _without_augmentation(predictor.model).save(staging_dir / _MODEL_FILE)
        metadata = Metadata(
            predictor.class_names,
            predictor.activation,
            predictor.image_spec,
            sha256_of(staging_dir / _MODEL_FILE),
            _training_record(predictor.model, phases, seed),
        )
        (staging_dir / METADATA_FILE).write_text(metadata.to_json(), encoding="utf-8")
    return target


def load(folder: str | os.PathLike[str], *, engine: str = "auto") -> Predictor:
    """Load a classifier that `Trainer.save` wrote.

    Nothing in the folder can run code: the model is read in Keras' safe mode, the rest is JSON.

    Args:
        folder: str or path. The saved folder.
        engine: "auto" (the fastest), "keras", "frozen_graph" or "openvino" (extra `fast`). Defaults to "auto".

    Returns:
        A `Predictor`; its `.model` is the keras.Model.

    Raises:
        ArtifactError: when the folder is missing, damaged, or of a newer format.
        ValueError: for an unknown engine.

    Example:

    >>> tk.load("cats_dogs").predict("image.jpg").label  # doctest: +SKIP
    'cats'
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    model = _read_model(folder / _MODEL_FILE, metadata.model_sha256)
    # Frozen dropout layers were saved with their original rates.
    disable_frozen_dropout(model)
    predictor_args = model, metadata.class_names, metadata.image_spec
    try:
        Predictor(*predictor_args, activation=metadata.activation)
    except (TypeError, ValueError, AttributeError) as error:
        raise invalid_artifact(folder, f"its metadata do not match its model ({error})") from error
    return Predictor(*predictor_args, activation=metadata.activation, engine=engine)


def _training_record(model: keras.Model, phases: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    augmentation = find_augmentation(model)
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__}
    return {
        "seed": seed,
        "phases": phases,
        "augmentation": None if augmentation is None else augmentation.get_config(),
        # The same results need the same number of threads: another one adds in another order.
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
        "versions": versions,
    }


def _without_augmentation(model: keras.Model) -> keras.Model:
    """Return the model for inference: augmentation is part of training, and needs this package to load."""
    augmentation = find_augmentation(model)
    if augmentation is None:
        return model
    # The layer's own `output` is that of its first call, which may be in another model.
    node = next(node for node in graph_nodes(model) if node.layer is augmentation)
    return keras.Model(node.outputs[0], model.output, name=model.name)


def _read_model(path: Path, sha256: str) -> keras.Model:
    if not path.is_file():
        raise invalid_artifact(path.parent, f"{_MODEL_FILE} is missing")
    if sha256_of(path) != sha256:
        raise invalid_artifact(path.parent, f"{_MODEL_FILE} is not the file that was saved (its checksum differs)")
    try:
        with zipfile.ZipFile(path) as archive:
            largest = max((info.file_size for info in archive.infolist() if info.filename.endswith(".json")), default=0)
        if largest > _MAX_CONFIG_BYTES:
            raise invalid_artifact(path.parent, f"the configuration in {_MODEL_FILE} has {largest:,} bytes")
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except ArtifactError:
        raise
    except (zipfile.BadZipFile, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise invalid_artifact(path.parent, f"{_MODEL_FILE} cannot be loaded ({error})") from error
