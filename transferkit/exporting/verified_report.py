"""The report of an exported model that has run in its own runtime and agrees with Keras."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from transferkit._utils.text import printable
from transferkit.errors import ExportError, MissingExtraError
from transferkit.exporting.formats import default_settings_model
from transferkit.exporting.images import VerificationImages
from transferkit.exporting.options import ExportRequest
from transferkit.exporting.report import ExportReport
from transferkit.exporting.verification import BATCH_SIZES, Verification, largest_difference, verify
from transferkit.prediction import Predictor

_MAX_REASON = 500


def verified_report(
    predictor: Predictor, request: ExportRequest, path: Path, examples: VerificationImages
) -> ExportReport:
    """Run an exported model in its own runtime and compare it with the Keras model.

    Raises:
        ExportError: when it does not run, or is further from the Keras model than the request allows.
    """
    name = request.format.name
    try:
        result = verify(request.format.load(path), predictor, examples.images, examples.labels)
    except (MissingExtraError, MemoryError):
        raise
    except Exception as error:
        # A runtime may refuse a model for any reason, and with any exception.
        raise export_failed(name, f"a model that does not run: {describe_error(error)}") from error
    _check_limits(request, result, predictor.outputs.name)
    default = default_settings_model(name, path)
    few = examples.images[: BATCH_SIZES[-1]]
    return ExportReport(
        path=str(path),
        format=name,
        precision=request.precision,
        size_bytes=_size(path),
        num_images=len(examples.images),
        synthetic_images=examples.are_synthetic,
        default_settings_difference=None if default is None else largest_difference(default, predictor, few),
        **dataclasses.asdict(result),
    )


def export_failed(
    name: str, received: str, remedy: str = "Choose another format, or change the layers."
) -> ExportError:
    """Return the error for a model that cannot be exported to the format of this name."""
    return ExportError(f"The exported model must run in {name} and agree with Keras. Received: {received}. {remedy}")


def describe_error(error: Exception) -> str:
    """Return the type and message of an exception in one line."""
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())}")[:_MAX_REASON]


def _check_limits(request: ExportRequest, result: Verification, output: str) -> None:
    if result.max_difference > request.tolerance:
        raise export_failed(
            request.format.name,
            f"{output} off by {result.max_difference:.3g}, more than {request.tolerance:g}",
            "Choose another precision or format, or raise `tolerance`.",
        )
    if result.label_agreement is not None and result.label_agreement < request.min_label_agreement:
        raise export_failed(
            request.format.name,
            f"{result.label_agreement:.1%} equal labels, fewer than {request.min_label_agreement:.1%}",
            "Give more calibration images, choose another precision, or lower `min_label_agreement`.",
        )


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
