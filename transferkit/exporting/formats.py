"""The formats of exported models."""

from __future__ import annotations

from pathlib import Path

from transferkit.exporting.litert import convert_to_litert
from transferkit.exporting.onnx import convert_to_onnx
from transferkit.exporting.openvino import convert_to_openvino
from transferkit.exporting.options import ExportFormat, Run
from transferkit.exporting.saved_model import convert_to_saved_model, load_saved_model
from transferkit.runtimes.litert import LiteRtRuntime
from transferkit.runtimes.onnx import OnnxRuntime
from transferkit.runtimes.openvino import OpenVinoRuntime

_FLOATS = ("float32", "float16")
FORMATS = {
    one.name: one
    for one in (
        ExportFormat("saved_model", "", _FLOATS, convert_to_saved_model, load_saved_model),
        ExportFormat("litert", ".tflite", (*_FLOATS, "int8", "dynamic_int8"), convert_to_litert, LiteRtRuntime),
        ExportFormat("onnx", ".onnx", (*_FLOATS, "int8"), convert_to_onnx, OnnxRuntime),
        ExportFormat("openvino", "", (*_FLOATS, "int8"), convert_to_openvino, OpenVinoRuntime),
    )
}
# Combinations that are not offered, and why.
REASONS = {
    ("saved_model", "int8"): "TensorFlow has no 8-bit operations for a SavedModel; use 'litert', 'onnx' or 'openvino'",
    ("saved_model", "dynamic_int8"): "TensorFlow has no 8-bit operations for a SavedModel; use 'litert'",
    ("onnx", "dynamic_int8"): "ONNX Runtime runs such convolutions 20 times slower; use 'int8' with calibration images",
    ("openvino", "dynamic_int8"): "OpenVINO quantizes convolutions from calibration images alone; use 'int8'",
}


def format_of(path: Path) -> str | None:
    """Return the format of the extension of a path, or None.

    >>> format_of(Path("cats_dogs.tflite"))
    'litert'
    """
    return next((one.name for one in FORMATS.values() if one.suffix and path.suffix.lower() == one.suffix), None)


def default_settings_model(name: str, path: Path) -> Run | None:
    """Return a model as a consumer runs it who does not know its settings; None where there are no settings."""
    return OpenVinoRuntime(path, settings={}) if name == "openvino" else None
