"""A trained classifier as a folder: the model in Keras' own format, and what is needed to use it on photographs."""

from __future__ import annotations

import json
import os
import platform
import zipfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.files import atomic_folder, sha256_of
from transferkit.classifier import find_augmentation
from transferkit.errors import ArtifactError
from transferkit.images.loading import ImageSpec
from transferkit.prediction import Predictor
from transferkit.training.history import RunHistory

FORMAT_VERSION = 1
_MODEL, _METADATA_FILE = "model.keras", "transferkit.json"
# No record or model description of an honest classifier comes near these sizes.
_MAX_RECORD_BYTES = 64 << 20
_MAX_CONFIG_BYTES = 64 << 20


def save_classifier(folder: str | os.PathLike[str], predictor: Predictor, history: RunHistory, *, seed: int) -> Path:
    """Write a predictor's model and settings to `folder`, whole or not at all; return the folder.

    Args:
        folder: where to; what was there before gives way only when the new one is whole.
        predictor: the model with its class names and pixels.
        history: the phases of training, kept for the record.
        seed: of the training, kept for the record.

    Raises:
        ArtifactError: when `folder` exists and is not an artifact, so that nothing of the user's is replaced.
    """
    target = Path(folder)
    if target.exists() and not (target / _METADATA_FILE).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ArtifactError(
            f"`folder` must be new, empty, or a classifier saved before. Received: {str(target)!r}, which holds "
            "something else. Choose another folder."
        )
    with atomic_folder(target) as staging_dir:
        _without_augmentation(predictor.model).save(staging_dir / _MODEL)
        record = _metadata(predictor, history, seed, sha256_of(staging_dir / _MODEL))
        (staging_dir / _METADATA_FILE).write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")
    return target


def load(folder: str | os.PathLike[str], *, engine: str = "auto") -> Predictor:
    """Load a classifier that `Trainer.save` wrote.

    Nothing in the folder can run code: the model is read in Keras' safe mode, the rest is JSON.

    Args:
        folder: the saved folder.
        engine: what runs the model: "auto" or a name that `transferkit.engines` knows.

    Returns:
        A `Predictor`; its `.model` is the keras.Model.

    Raises:
        ArtifactError: when the folder is missing, broken, or of a newer format.

    Example:

    >>> tk.load("cats_dogs").predict("photo.jpg").label  # doctest: +SKIP
    'cats'
    """
    folder = Path(folder)
    record = _read_metadata(folder)
    model = _read_model(folder / _MODEL, record)
    try:
        return Predictor(
            model,
            record["class_names"],
            ImageSpec.from_dict(record["pixels"]),
            activation=record["activation"],
            engine=engine,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _invalid_artifact(folder, f"its record does not fit its model ({error})") from error


def _metadata(predictor: Predictor, history: RunHistory, seed: int, digest: str) -> dict[str, Any]:
    augmentation = find_augmentation(predictor.model)
    return {
        "format": FORMAT_VERSION,
        "class_names": list(predictor.class_names),
        "activation": predictor.activation,
        "pixels": predictor.image_spec.to_dict(),
        "model_sha256": digest,
        "training": {
            "seed": seed,
            "phases": history.to_dict(),
            "augmentation": None if augmentation is None else augmentation.get_config(),
            # The same numbers come again only with these: another count of threads sums in another order.
            "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
            "versions": {
                "python": platform.python_version(),
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
            },
        },
    }


def _without_augmentation(model: keras.Model) -> keras.Model:
    """Return the model as it predicts: augmentation is a matter of training, and needs this package to load."""
    augmentation = find_augmentation(model)
    if augmentation is None:
        return model
    return keras.Model(augmentation.output, model.output, name=model.name)


def _read_metadata(folder: Path) -> dict[str, Any]:
    path = folder / _METADATA_FILE
    if not path.is_file():
        raise ArtifactError(
            f"`folder` must be a classifier saved by Trainer.save. Received: {str(folder)!r}, which has no {_METADATA_FILE}."
            " Check the path."
        )
    if path.stat().st_size > _MAX_RECORD_BYTES:
        raise _invalid_artifact(folder, f"{_METADATA_FILE} is larger than any record")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _invalid_artifact(folder, f"{_METADATA_FILE} is not a record of a classifier") from error
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{str(folder)!r} must have format {FORMAT_VERSION}. Received: format {version!r}. "
            "Load it with the version of transferkit that saved it, or a newer one."
        )
    return record


def _read_model(path: Path, record: dict[str, Any]) -> keras.Model:
    if not path.is_file():
        raise _invalid_artifact(path.parent, f"{_MODEL} is missing")
    if sha256_of(path) != record.get("model_sha256"):
        raise _invalid_artifact(path.parent, f"{_MODEL} is not the file that was saved (its checksum differs)")
    try:
        with zipfile.ZipFile(path) as archive:
            largest = max((info.file_size for info in archive.infolist() if info.filename.endswith(".json")), default=0)
        if largest > _MAX_CONFIG_BYTES:
            raise _invalid_artifact(path.parent, f"{_MODEL} describes a model in {largest:,} bytes")
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except ArtifactError:
        raise
    except (zipfile.BadZipFile, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _invalid_artifact(path.parent, f"{_MODEL} cannot be loaded ({error})") from error


def _invalid_artifact(folder: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{str(folder)!r} must be a whole classifier. Received: {why}. Save it again.")
