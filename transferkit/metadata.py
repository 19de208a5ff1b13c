"""The metadata of a saved classifier, read without TensorFlow."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from transferkit.errors import ArtifactError
from transferkit.images.spec import ImageSpec

FORMAT_VERSION = 2
METADATA_FILE = "transferkit.json"
# Far above the size of the metadata of any real classifier.
_MAX_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a saved classifier needs in addition to its model.

    Attributes:
        class_names: in the order of the outputs.
        activation: "sigmoid", "softmax" or None.
        image_spec: how files become images.
        model_sha256: of the model file.
        training: seed, phases, augmentation and versions.
    """

    class_names: tuple[str, ...]
    activation: str | None
    image_spec: ImageSpec
    model_sha256: str
    training: dict[str, Any]

    def to_json(self) -> str:
        """Return the contents of the metadata file."""
        fields = {**vars(self), "class_names": list(self.class_names), "image_spec": self.image_spec.to_dict()}
        return json.dumps({"format": FORMAT_VERSION, **fields}, indent=2, ensure_ascii=False)


def read_metadata(folder: Path) -> Metadata:
    """Return the metadata of a saved classifier.

    Raises:
        ArtifactError: when they are missing, damaged or of an unknown format.
    """
    path = folder / METADATA_FILE
    if not path.is_file():
        raise ArtifactError(
            f"`folder` must be a classifier saved by Trainer.save. Received: {str(folder)!r}, which has no "
            f"{METADATA_FILE}. Check the path."
        )
    if path.stat().st_size > _MAX_BYTES:
        raise invalid_artifact(folder, f"{METADATA_FILE} is too large")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise invalid_artifact(folder, f"{METADATA_FILE} is damaged") from error
    if version not in (1, FORMAT_VERSION):
        raise ArtifactError(
            f"{str(folder)!r} must have format {FORMAT_VERSION} or older. Received: format {version!r}. "
            "Load it with the version of transferkit that saved it, or a newer one."
        )
    try:
        spec = _image_spec_of_version_1(values["pixels"]) if version == 1 else values["image_spec"]
        return Metadata(
            tuple(values["class_names"]),
            values["activation"],
            ImageSpec.from_dict(spec),
            values["model_sha256"],
            values["training"],
        )
    except (ValueError, TypeError, KeyError) as error:
        raise invalid_artifact(folder, f"{METADATA_FILE} is damaged ({error!r})") from error


def invalid_artifact(folder: Path, reason: str) -> ArtifactError:
    """Return the error for a saved classifier that cannot be used."""
    return ArtifactError(f"{str(folder)!r} must be a complete classifier. Received: {reason}. Save it again.")


def _image_spec_of_version_1(values: dict[str, Any]) -> dict[str, Any]:
    return {"full_decode" if key == "exact" else key: value for key, value in values.items()}
