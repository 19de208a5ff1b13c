"""The metadata in the file of an exported model: all that is needed to use it, without TensorFlow."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from transferkit._utils.files import parse_json
from transferkit._utils.text import printable
from transferkit.calibration import Calibration
from transferkit.errors import ArtifactError
from transferkit.images.spec import ImageSpec
from transferkit.metadata import (
    check_type,
    parse_activation,
    parse_calibration,
    parse_class_names,
    parse_image_spec,
)

# Of classifiers and of models of numbers, which versions for classifiers alone refuse.
FORMAT_VERSION, NUMBER_FORMAT_VERSION = 1, 2
_MAX_REASON = 300


@dataclasses.dataclass(frozen=True)
class ExportedMetadata:
    """The metadata of an exported model.

    Attributes:
        name: of the model.
        class_names: in the order of the probabilities; empty for numbers.
        activation: that the graph of the model applies, "sigmoid", "softmax" or None; "linear" for numbers.
        multi_label: whether an image can have any number of labels.
        image_spec: how files become images.
        calibration: of the probabilities, or None. The graph has applied its temperature.
        precision: "float32", "float16", "int8" or "dynamic_int8".
        license: of the model, an SPDX identifier, or None.
        versions: package -> version with which the model was exported.
    """

    name: str
    class_names: tuple[str, ...]
    activation: str | None
    multi_label: bool
    image_spec: ImageSpec
    calibration: Calibration | None
    precision: str
    license: str | None
    versions: dict[str, str]

    def to_json(self) -> str:
        """Return the text that is stored in the file."""
        fields: dict[str, Any] = {**vars(self), "image_spec": self.image_spec.to_dict()}
        fields["calibration"] = None if self.calibration is None else self.calibration.to_dict()
        version = NUMBER_FORMAT_VERSION if self.activation == "linear" else FORMAT_VERSION
        return json.dumps({"format": version, **fields}, ensure_ascii=False)

    def labels_text(self) -> str:
        """Return the class names, one per line; characters that would start another line are escaped."""
        return "".join(f"{printable(name)}\n" for name in self.class_names)

    def label_files(self, name: str) -> dict[str, str]:
        """Return the text of class names by the name of its file; nothing for numbers."""
        return {name: self.labels_text()} if self.class_names else {}


def parse_exported_metadata(path: str, text: str | None) -> ExportedMetadata:
    """Return the metadata of an exported model.

    Args:
        path: of the model, for errors.
        text: that was stored in it, or None.

    Raises:
        ArtifactError: when they are missing, damaged or of an unknown format.
    """
    if text is None:
        raise ArtifactError(
            f"An exported model must have the metadata that tk.export stores. Received: {path!r} without. Export it "
            "again, or run it with its runtime alone."
        )
    try:
        return _metadata(parse_json(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = printable(f"missing {error}" if isinstance(error, KeyError) else error)[:_MAX_REASON]
        raise ArtifactError(
            f"{path!r} must be a complete exported model. Received: metadata that are damaged ({reason}). Export it "
            "again."
        ) from error


def _metadata(values: Any) -> ExportedMetadata:
    check_type("metadata", values, dict)
    if values["format"] not in (FORMAT_VERSION, NUMBER_FORMAT_VERSION):
        raise ValueError(f"`format` must be at most {NUMBER_FORMAT_VERSION}; a newer version of transferkit wrote it")
    for name, kind in {"name": str, "multi_label": bool, "precision": str, "versions": dict}.items():
        check_type(name, values[name], kind)
    if values["license"] is not None:
        check_type("license", values["license"], str)
    metadata = ExportedMetadata(
        values["name"],
        parse_class_names(values["class_names"]),
        parse_activation(values["activation"]),
        values["multi_label"],
        parse_image_spec(values["image_spec"]),
        parse_calibration(values["calibration"]),
        values["precision"],
        values["license"],
        dict(values["versions"]),
    )
    if metadata.calibration is not None:
        metadata.calibration.check_fits(len(metadata.class_names), metadata.activation)
    return metadata
