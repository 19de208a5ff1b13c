"""The public function: writes a classifier in the format of a runtime, and verifies it there."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.files import atomic_folder, atomic_write
from transferkit.data.numbers import require_classes
from transferkit.errors import MissingExtraError, StorageError
from transferkit.exported_metadata import ExportedMetadata
from transferkit.exporting.arguments import checked_predictor, checked_request
from transferkit.exporting.exported_function import exported_function
from transferkit.exporting.images import calibration_images, verification_images
from transferkit.exporting.options import ConversionOptions, ExportFormat, ExportRequest
from transferkit.exporting.report import ExportReport
from transferkit.exporting.verified_report import describe_error, export_failed, verified_report
from transferkit.prediction import Predictor

_LOG = logging.getLogger("transferkit")
# From this difference on, a consumer should know about the settings.
_NOTABLE_DIFFERENCE = 1e-3


@suggests_arguments
def export(
    predictor: Any,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    precision: str = "float32",
    calibration: Any = None,
    images: Any = None,
    input_dtype: str = "float32",
    features: bool = False,
    encoded_images: bool = False,
    license: str | None = None,
    tolerance: float | None = None,
    min_label_agreement: float | None = None,
) -> ExportReport:
    """Write a classifier in the format of a runtime, and verify that the runtime gives the same predictions.

    The exported model takes RGB images in [0, 255] of the classifier's size, in any batch size, under the name "image",
    and returns "probabilities" (batch, classes) in the order of the class names: preprocessing, temperature and
    activation are part of it. Class names, image spec, thresholds and versions are in the metadata of the file. A model
    of numbers returns "values" (batch, 1).

    Args:
        predictor: `Predictor` of a Keras model, as from `tk.load`, or a `Trainer` after its first phase.
        path: str or path. A ".onnx" or ".tflite" file, or a folder for "saved_model" and "openvino"; it is replaced
            when the new one is verified.
        format: "saved_model", "litert", "onnx" (extra `onnx`) or "openvino" (extra `openvino`). Defaults to None, from
            the extension of `path`.
        precision: "float32"; "float16", weights of half the size; "int8", weights and activations of 8 bits, which
            requires `calibration`; or "dynamic_int8" (LiteRT), weights of 8 bits. Defaults to "float32".
        calibration: training images, from which "int8" takes the ranges of activations: `Data`, or anything that
            `Predictor.predict` accepts; of more than 200 a random sample. Defaults to None.
        images: images for the verification: `Data`, for its test split, or anything that `Predictor.predict` accepts.
            Labels of a split give the accuracy before and after. Defaults to None, the calibration images or, without
            them, synthetic ones.
        input_dtype: "float32" or "uint8". Type of the images. Defaults to "float32".
        features: bool. Whether the features of the images are a second output, "features", for `Predictor.embed`.
            Defaults to False.
        encoded_images: bool. Whether a SavedModel has a second signature, "encoded", from the contents of JPEG and
            PNG files, which decodes and resizes them. Defaults to False.
        license: str. License of the model, an SPDX identifier such as "Apache-2.0". Defaults to None.
        tolerance: float >= 0. Largest difference of probabilities from the Keras model; of numbers in standard
            deviations of the training labels. Defaults to None: 1e-4 for "float32", 0.1 for "float16", and 1 for 8
            bits, which is no limit for probabilities.
        min_label_agreement: float in [0, 1]. Smallest fraction of labels equal to those of the Keras model. Defaults to
            None: 1 for "float32", 0.98 for "float16", 0.95 for 8 bits. Not for numbers.

    Returns:
        An `ExportReport`: `.max_difference`, `.label_agreement`, `.size_bytes`, `.latency_ms`, `.accuracy`.

    Raises:
        DataError: when there is no image that can be read, or an option of classes is given for numbers.
        ExportError: when the conversion fails, or the exported model is further from the Keras model than allowed;
            nothing new is left at `path`.
        MissingExtraError: when a package of the format is not installed.
        StorageError: when the file cannot be written.
        ValueError: when an argument is out of range or does not fit the format.

    Example:

    >>> report = tk.export(predictor, "cats_dogs.onnx", images=data)  # doctest: +SKIP
    >>> report.max_difference < 1e-5, report.label_agreement  # doctest: +SKIP
    (True, 1.0)
    """
    request = checked_request(
        path,
        format=format,
        precision=precision,
        calibration=calibration,
        input_dtype=input_dtype,
        features=features,
        encoded_images=encoded_images,
        tolerance=tolerance,
        min_label_agreement=min_label_agreement,
    )
    source = checked_predictor(predictor)
    if min_label_agreement is not None:
        require_classes(source, "`min_label_agreement`")
    ranges = None if calibration is None else calibration_images(calibration, source.image_spec)
    examples = verification_images(images, ranges, source.image_spec)
    options = ConversionOptions(_metadata(source, precision, license), precision, ranges, encoded_images)
    with _replaced(Path(path), request.format) as written:
        _convert(source, request, written, options)
        report = dataclasses.replace(verified_report(source, request, written, examples), path=str(path))
    if (report.default_settings_difference or 0.0) > _NOTABLE_DIFFERENCE:
        _LOG.warning(
            "Without the settings in config.json, OpenVINO computes in bfloat16 on this processor, with outputs "
            "off by %.2g. Compile the model with them.",
            report.default_settings_difference,
        )
    return report


def _convert(predictor: Predictor, request: ExportRequest, path: Path, options: ConversionOptions) -> None:
    half = request.format.name == "saved_model" and request.precision == "float16"
    try:
        function = exported_function(
            predictor, input_dtype=request.input_dtype, features=request.features, half_weights=half
        )
        request.format.convert(function, path, options)
    except (MissingExtraError, MemoryError, OSError):
        raise
    except Exception as error:
        # Converters raise exceptions of many types for layers that they do not support.
        raise export_failed(request.format.name, f"a conversion that failed: {describe_error(error)}") from error


@contextlib.contextmanager
def _replaced(target: Path, chosen: ExportFormat) -> Iterator[Path]:
    """Yield a temporary name for a file or folder, which replaces the target on success."""
    if chosen.suffix:
        with atomic_write(target, suffix=chosen.suffix) as written:
            yield written
        return
    if target.is_dir() and any(target.iterdir()) and not _is_export(target):
        raise StorageError(
            f"`path` must be a new or empty folder, or an earlier export. Received: {str(target)!r}, which has other "
            "files. Choose another folder."
        )
    with atomic_folder(target) as written:
        yield written


def _is_export(folder: Path) -> bool:
    return (folder / "model.xml").is_file() or (folder / "saved_model.pb").is_file()


def _metadata(predictor: Predictor, precision: str, license: str | None) -> ExportedMetadata:
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__}
    return ExportedMetadata(
        predictor.model.name,
        predictor.class_names,
        predictor.activation,
        predictor.multi_label,
        predictor.image_spec,
        predictor.calibration,
        precision,
        license,
        versions,
    )
