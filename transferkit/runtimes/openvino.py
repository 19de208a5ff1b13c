"""Runs a model in OpenVINO's format: a folder with model.xml, model.bin and config.json."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from transferkit._utils.files import parse_json
from transferkit._utils.openvino import openvino_core, thread_options
from transferkit.runtimes.base import METADATA_KEY

MODEL_FILE, CONFIG_FILE = "model.xml", "config.json"
PRECISION_SETTING = "INFERENCE_PRECISION_HINT"
_PRECISIONS = ("f32", "f16", "bf16")
# The parts of the section in the file where the metadata are.
METADATA_SECTION = [METADATA_KEY, "metadata"]


class OpenVinoRuntime:
    """An OpenVINO model on the CPU, with the settings of its config.json.

    Args:
        path: the folder.
        settings: of the compilation, in place of those in config.json. Defaults to None.
    """

    name = "openvino"

    def __init__(self, path: Path, settings: dict[str, str] | None = None) -> None:
        core = openvino_core()
        model = core.read_model(path / MODEL_FILE)
        self.outputs: tuple[str, ...] = tuple(sorted(next(iter(sorted(output.names))) for output in model.outputs))
        self.metadata: str | None = model.get_rt_info(METADATA_SECTION).astype(str) if _has_metadata(model) else None
        settings = read_settings(path) if settings is None else settings
        self._compiled = core.compile_model(model, "CPU", {**settings, **thread_options()})
        self._dtype = self._compiled.input(0).element_type.to_dtype()
        # A request runs one batch at a time; there are as many as threads that have called.
        self._free: SimpleQueue[Any] = SimpleQueue()

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with self._request() as request:
            request.infer([np.ascontiguousarray(images, self._dtype)], share_inputs=True)
            # The request reuses its buffers for the next batch.
            return {name: np.array(request.get_tensor(name).data, np.float32) for name in self.outputs}

    @contextlib.contextmanager
    def _request(self) -> Iterator[Any]:
        try:
            request = self._free.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            yield request
        finally:
            self._free.put(request)


def read_settings(path: Path) -> dict[str, str]:
    """Return the precision in which a model computes, as config.json states it; nothing without the file.

    Other settings are ignored: some of them write files.
    """
    file = path / CONFIG_FILE
    settings = parse_json(file.read_text(encoding="utf-8")) if file.is_file() else {}
    precision = settings.get(PRECISION_SETTING) if isinstance(settings, dict) else None
    return {PRECISION_SETTING: precision} if precision in _PRECISIONS else {}


def _has_metadata(model: Any) -> bool:
    return bool(model.has_rt_info(METADATA_SECTION))
