"""The metadata of a saved classifier, read without TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import reprlib
from pathlib import Path
from typing import Any

from transferkit._utils.files import parse_json
from transferkit._utils.hashing import sha256_of
from transferkit._utils.text import printable
from transferkit.calibration import Calibration
from transferkit.errors import ArtifactError
from transferkit.images.spec import ImageSpec

# Of classifiers and of models of numbers, which versions for classifiers alone refuse.
FORMAT_VERSION, NUMBER_FORMAT_VERSION = 5, 6
# The first format with a checksum.
_FIRST_WITH_CHECKSUM = 3
METADATA_FILE, MODEL_FILE = "transferkit.json", "model.keras"
# Far above the size of the metadata of any real classifier.
_MAX_BYTES = 64 << 20
# Far above what a model can run on.
_MAX_PIXELS = 1 << 30
_CHECKSUM = "sha256"
_MAX_REASON = 300


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a saved classifier needs in addition to its model; the file has a checksum too.

    Attributes:
        class_names: in the order of the outputs; empty for numbers.
        activation: "sigmoid", "softmax" or None; "linear" for numbers.
        image_spec: how files become images.
        model_sha256: of the model file.
        training: seed, phases, augmentation and versions.
        calibration: of the probabilities, or None; its training features are in a file.
        features_sha256: of the file of training features, or None without one.
    """

    class_names: tuple[str, ...]
    activation: str | None
    image_spec: ImageSpec
    model_sha256: str
    training: dict[str, Any]
    calibration: Calibration | None = None
    features_sha256: str | None = None

    @property
    def format_version(self) -> int:
        """The version of the format that has all of the metadata."""
        return NUMBER_FORMAT_VERSION if self.activation == "linear" else FORMAT_VERSION

    def to_json(self) -> str:
        """Return the contents of the metadata file."""
        fields = {**vars(self), "class_names": list(self.class_names), "image_spec": self.image_spec.to_dict()}
        fields["calibration"] = None if self.calibration is None else self.calibration.to_dict()
        values = json.loads(json.dumps({"format": self.format_version, **fields}))
        return json.dumps({**values, _CHECKSUM: _checksum(values)}, indent=2, ensure_ascii=False)


def read_metadata(folder: Path) -> Metadata:
    """Return the metadata of a saved classifier.

    Raises:
        ArtifactError: when they are missing, damaged or of an unknown format.
    """
    values = _read_values(folder)
    version = values.get("format")
    if type(version) is not int or not 1 <= version <= NUMBER_FORMAT_VERSION:
        raise ArtifactError(
            f"{str(folder)!r} must have format {NUMBER_FORMAT_VERSION} or older. Received: format "
            f"{reprlib.repr(version)}. Load it with the version of transferkit that saved it, or a newer one."
        )
    checksum = values.pop(_CHECKSUM, None)
    if checksum != (_checksum(values) if version >= _FIRST_WITH_CHECKSUM else None):
        raise invalid_artifact(folder, f"{METADATA_FILE} is not the file that was saved (its checksum differs)")
    try:
        return _metadata(values, version)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = printable(reprlib.repr(error) if isinstance(error, KeyError) else error)
        raise invalid_artifact(folder, f"{METADATA_FILE} is damaged ({reason[:_MAX_REASON]})") from error


def _read_values(folder: Path) -> dict[str, Any]:
    path = folder / METADATA_FILE
    try:
        if not path.is_file():
            raise ArtifactError(
                "`folder` must be a classifier saved by Trainer.save. "
                f"Received: {str(folder)!r}, {_why_missing(folder)}"
            )
        if path.stat().st_size > _MAX_BYTES:
            raise invalid_artifact(folder, f"{METADATA_FILE} is too large")
        values = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise invalid_artifact(folder, f"{METADATA_FILE} cannot be read ({error.strerror})") from error
    except ValueError as error:
        if isinstance(error, ArtifactError):
            raise
        raise invalid_artifact(folder, f"{METADATA_FILE} is damaged") from error
    if not isinstance(values, dict):
        raise invalid_artifact(folder, f"{METADATA_FILE} is damaged")
    return values


def _why_missing(folder: Path) -> str:
    if (folder.parent / METADATA_FILE).is_file():
        return f"a file in it. Give its folder, {str(folder.parent)!r}."
    if folder.is_file():
        return "which is a file. Load models that Keras saved with keras.saving.load_model()."
    if not folder.exists():
        relative = "" if folder.is_absolute() else f", which is relative to {os.getcwd()!r}"
        return f"and there is no such folder. Check the path{relative}."
    return f"which has no {METADATA_FILE}. Check the path."


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _metadata(values: dict[str, Any], version: int) -> Metadata:
    spec = _image_spec_of_version_1(values["pixels"]) if version == 1 else values["image_spec"]
    check_type("model_sha256", values["model_sha256"], str)
    check_type("training", values["training"], dict)
    features_sha256 = values.get("features_sha256")
    if features_sha256 is not None:
        check_type("features_sha256", features_sha256, str)
    names, activation = parse_class_names(values["class_names"]), parse_activation(values["activation"])
    # Earlier formats have no calibration.
    calibration = parse_calibration(values.get("calibration"))
    files = {"model_sha256": values["model_sha256"], "features_sha256": features_sha256}
    return Metadata(
        names, activation, parse_image_spec(spec), training=values["training"], calibration=calibration, **files
    )


def parse_class_names(values: Any) -> tuple[str, ...]:
    """Return class names from JSON; a TypeError or ValueError for anything else."""
    check_type("class_names", values, list)
    for name in values:
        check_type("class_names", name, str)
    if len(set(values)) < len(values) or not all(values):
        raise ValueError("`class_names` must be different and not empty")
    return tuple(values)


def parse_activation(value: Any) -> str | None:
    """Return an activation from JSON; a ValueError for anything else."""
    if value not in ("sigmoid", "softmax", "linear", None):
        raise ValueError(f"`activation` must be sigmoid, softmax, linear or null, not {reprlib.repr(value)}")
    return value


def parse_calibration(values: Any) -> Calibration | None:
    """Return a calibration from JSON, or None for null; an error for anything else."""
    if values is None:
        return None
    check_type("calibration", values, dict)
    return Calibration.from_dict(values)


def parse_image_spec(values: Any) -> ImageSpec:
    """Return an image spec from JSON; a TypeError, ValueError or KeyError for anything else."""
    check_type("image_spec", values, dict)
    expected = ImageSpec((1, 1)).to_dict()
    for name, value in values.items():
        kind = type(expected[name])
        check_type(name, value, (int, float) if kind is float else kind)
    for side in values["image_size"]:
        check_type("image_size", side, int)
    spec = ImageSpec.from_dict(values)
    if math.prod(spec.image_size) > _MAX_PIXELS:
        raise ValueError(f"`image_size` must have at most {_MAX_PIXELS:,} pixels")
    return spec


def check_type(name: str, value: Any, kind: type | tuple[type, ...]) -> None:
    """Raise a TypeError for a value of another type; a bool is no int."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"`{name}` must not be {reprlib.repr(value)}")


def checked_model_file(folder: Path, metadata: Metadata) -> Path:
    """Return the path of the model in a saved folder; raise an ArtifactError when it is missing or changed."""
    path = folder / MODEL_FILE
    if not path.is_file():
        raise invalid_artifact(folder, f"{MODEL_FILE} is missing")
    if sha256_of(path) != metadata.model_sha256:
        raise invalid_artifact(folder, f"{MODEL_FILE} is not the file that was saved (its checksum differs)")
    return path


def invalid_artifact(folder: Path, reason: str) -> ArtifactError:
    """Return the error for a saved classifier that cannot be used."""
    return ArtifactError(f"{str(folder)!r} must be a complete classifier. Received: {reason}. Save it again.")


def _image_spec_of_version_1(values: dict[str, Any]) -> dict[str, Any]:
    return {"full_decode" if key == "exact" else key: value for key, value in values.items()}
