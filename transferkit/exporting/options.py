"""Options of an export: the checked arguments of `transferkit.export`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.exported_metadata import ExportedMetadata

PRECISIONS = ("float32", "float16", "int8", "dynamic_int8")
INPUT_DTYPES = ("float32", "uint8")


@dataclasses.dataclass(frozen=True, eq=False)
class ConversionOptions:
    """Options of a conversion.

    Attributes:
        metadata: that are stored in the file.
        precision: of the weights, and with "int8" of the computation.
        calibration: uint8 (n, height, width, 3), images from which "int8" takes the ranges of activations, or None.
        encoded_images: whether a SavedModel has a signature for encoded images.
    """

    metadata: ExportedMetadata
    precision: str
    calibration: np.ndarray | None = None
    encoded_images: bool = False


# Runs an exported model on images (n, height, width, 3); returns its outputs by name.
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """A format of exported models.

    Attributes:
        name: as in `transferkit.export(format=...)`.
        suffix: of its files; "" for a folder.
        precisions: that it supports.
        convert: writes a function to a path.
        load: returns the model of a path, run by its own runtime with a consumer's settings.
    """

    name: str
    suffix: str
    precisions: tuple[str, ...]
    convert: Callable[[Any, Path, ConversionOptions], None]
    load: Callable[[Path], Run]


@dataclasses.dataclass(frozen=True)
class ExportRequest:
    """The checked arguments of an export.

    Attributes:
        format: of the file.
        precision: of the weights.
        input_dtype: "float32" or "uint8".
        features: whether features are an output.
        encoded_images: whether a SavedModel decodes files.
        tolerance: largest difference of probabilities from the Keras model.
        min_label_agreement: smallest fraction of equal labels.
    """

    format: ExportFormat
    precision: str
    input_dtype: str
    features: bool
    encoded_images: bool
    tolerance: float
    min_label_agreement: float
