"""Runs a model in the ONNX format with ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from transferkit._utils.cores import num_cores, num_threads
from transferkit._utils.extras import import_extra
from transferkit.runtimes.base import IMAGE, METADATA_KEY

# Types of inputs in the words of ONNX Runtime.
_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
# Messages of fatal errors alone: errors are raised, too.
_FATAL = 4
_TELEMETRY = "ORT_DISABLE_TELEMETRY"


class OnnxRuntime:
    """A model of one .onnx file on the CPU.

    Args:
        path: the file.
    """

    name = "onnx"

    def __init__(self, path: Path) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        if num_threads() < num_cores():
            options.intra_op_num_threads = num_threads()
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._dtype = _DTYPES[self._session.get_inputs()[0].type]
        self.outputs: tuple[str, ...] = tuple(output.name for output in self._session.get_outputs())
        self.metadata: str | None = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        values = self._session.run(None, {IMAGE: np.ascontiguousarray(images, self._dtype)})
        return dict(zip(self.outputs, values))


def import_onnxruntime(module: str = "onnxruntime") -> Any:
    """Return a module of the package onnxruntime, imported without its telemetry.

    Raises:
        MissingExtraError: when it is not installed.
    """
    # Importing it sends usage data and writes a device id into the home folder, unless this variable is set then; the
    # decision holds for the process.
    before = os.environ.get(_TELEMETRY)
    os.environ[_TELEMETRY] = "1"
    try:
        return import_extra(module, "ONNX", "onnxruntime", "onnx")
    finally:
        if before is None:
            os.environ.pop(_TELEMETRY, None)
        else:
            os.environ[_TELEMETRY] = before
