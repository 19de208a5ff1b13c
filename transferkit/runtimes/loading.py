"""Finds exported models and loads them with their runtimes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from transferkit._utils.text import printable
from transferkit.errors import ArtifactError, MissingExtraError
from transferkit.runtimes.base import Runtime
from transferkit.runtimes.litert import LiteRtRuntime
from transferkit.runtimes.onnx import OnnxRuntime
from transferkit.runtimes.openvino import MODEL_FILE, OpenVinoRuntime

_CLASSES: dict[str, Callable[[Path], Runtime]] = {
    "openvino": OpenVinoRuntime,
    "onnx": OnnxRuntime,
    "litert": LiteRtRuntime,
}
_PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "litert": "ai_edge_litert"}
# In the order in which "auto" chooses.
RUNTIMES = tuple(_CLASSES)
# The name of an exported model in the folder of a saved classifier.
NAMES = {"openvino": "openvino", "onnx": "model.onnx", "litert": "model.tflite"}
_SUFFIXES = {".onnx": "onnx", ".tflite": "litert"}
_MAX_REASON = 300


def runtime_of(path: Path) -> str | None:
    """Return the name of the runtime of an exported model, or None for anything else.

    >>> runtime_of(Path("cats_dogs.onnx"))
    'onnx'
    """
    if (path / MODEL_FILE).is_file():
        return "openvino"
    return _SUFFIXES.get(path.suffix.lower())


def find_runtimes(folder: Path) -> list[str]:
    """Return the runtimes that are installed and have a model in the folder of a saved classifier, the best first."""
    return [
        name
        for name in RUNTIMES
        if runtime_of(folder / NAMES[name]) and (folder / NAMES[name]).exists() and is_installed(name)
    ]


def is_installed(name: str) -> bool:
    """Return whether the package of a runtime is installed."""
    return importlib.util.find_spec(_PACKAGES[name]) is not None


def load_runtime(path: Path) -> Runtime:
    """Load an exported model: a .onnx or .tflite file, or a folder in OpenVINO's format.

    Raises:
        ArtifactError: when it cannot be read.
        MissingExtraError: when the package of its runtime is not installed.
    """
    name = runtime_of(path)
    if name is None or not path.exists():
        raise ArtifactError(
            "An exported model must be a .onnx or .tflite file, or a folder in OpenVINO's format. Received: "
            f"{str(path)!r}. Write one with tk.export(predictor, path)."
        )
    try:
        return _CLASSES[name](path)
    except (MissingExtraError, MemoryError):
        raise
    except Exception as error:
        # A runtime may fail in any way on a damaged file.
        reason = printable(" ".join(str(error).split()))[:_MAX_REASON]
        raise ArtifactError(
            f"{str(path)!r} must be a complete exported model. Received: a file that {name} cannot load ({reason}). "
            "Export it again."
        ) from error
