"""Runs a model in the LiteRT (TensorFlow Lite) format."""

from __future__ import annotations

import contextlib
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from transferkit._utils.cores import num_threads
from transferkit._utils.extras import import_extra
from transferkit.runtimes.base import IMAGE

# The files that are appended to the model, which is also a ZIP archive: the form of associated files in LiteRT.
METADATA_FILE, LABELS_FILE = "transferkit.json", "labels.txt"
_MAX_METADATA_BYTES = 64 << 20


class LiteRtRuntime:
    """A model of one .tflite file on the CPU.

    Args:
        path: the file.
    """

    name = "litert"

    def __init__(self, path: Path) -> None:
        interpreter = import_litert().Interpreter(str(path), num_threads=num_threads())
        (self._signature,) = interpreter.get_signature_list()
        self._runner = interpreter.get_signature_runner(self._signature)
        self._dtype = self._runner.get_input_details()[IMAGE]["dtype"]
        self.outputs: tuple[str, ...] = tuple(sorted(self._runner.get_output_details()))
        self.metadata: str | None = _read_metadata(path)
        # An interpreter has one set of buffers.
        self._lock = threading.Lock()

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with self._lock:
            values = self._runner(**{IMAGE: np.ascontiguousarray(images, self._dtype)})
        return {name: np.asarray(values[name], np.float32) for name in self.outputs}


def import_litert() -> Any:
    """Return the interpreter of the package ai-edge-litert.

    Raises:
        MissingExtraError: when it is not installed.
    """
    return import_extra("ai_edge_litert.interpreter", "The runtime 'litert'", "ai-edge-litert", "litert")


def _read_metadata(path: Path) -> str | None:
    with contextlib.suppress(zipfile.BadZipFile, KeyError, UnicodeDecodeError), zipfile.ZipFile(path) as archive:
        if archive.getinfo(METADATA_FILE).file_size <= _MAX_METADATA_BYTES:
            return archive.read(METADATA_FILE).decode("utf-8")
    return None
