"""OpenVINO, by the extra `fast`: on CPUs first or level on every backbone that was tried, and faster still in bfloat16.

Reference: https://docs.openvino.ai/2025/openvino-workflow/running-inference.html
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from transferkit._utils.files import atomic_write, cache_home
from transferkit.engines.base import Outputs, batches, concatenated, pad_batch
from transferkit.errors import MissingExtraError

# Batches that are handed over before their stream is free, so that no stream waits for Python.
_QUEUED_PER_STREAM = 2
_DIGEST_BYTES = 32
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def is_available() -> bool:
    """Return whether the package is there."""
    return importlib.util.find_spec("openvino") is not None


def version() -> str:
    """Return the version of the package.

    Raises:
        MissingExtraError: when it is not there.
    """
    if not is_available():
        raise MissingExtraError("The engine 'openvino'", "openvino", "fast")
    return importlib.metadata.version("openvino")


def convert(function: Any, key: str, batch_size: int, precision: str) -> OpenVino:
    """Convert a frozen TensorFlow function, keep the compiled result on disk under `key`, and return it as an engine.

    Args:
        function: of float32 images (batch_size, height, width, 3).
        key: stands for all that the result depends on, but for the precision, which is chosen when it is read.
        batch_size, precision: as `OpenVino` takes them.
    """
    compiled = _openvino().Core().compile_model(_translated(function.graph), "CPU", _options(batch_size, precision))
    # Without a disk to keep it on, it is converted again the next time.
    with contextlib.suppress(OSError), atomic_write(_file(key)) as path:
        contents = compiled.export_model().getvalue()
        with open(path, "wb") as file:
            file.write(_digest(contents))
            file.write(contents)
    return OpenVino(compiled, batch_size, precision)


def load_compiled(key: str, batch_size: int, precision: str) -> OpenVino | None:
    """Return what was converted before under `key`, or None; a file that is not whole counts as none.

    What was compiled already is read in a quarter of the time that compiling takes.
    """
    try:
        with open(_file(key), "rb") as file:
            digest, contents = file.read(_DIGEST_BYTES), file.read()
        if digest != _digest(contents):
            return None
        compiled = _openvino().Core().import_model(contents, "CPU", _options(batch_size, precision))
    except (OSError, RuntimeError):
        return None
    return OpenVino(compiled, batch_size, precision)


def is_cached(key: str) -> bool:
    """Return whether something was converted before under `key`."""
    return _file(key).is_file()


def _translated(graph: Any) -> Any:
    """Return the model of a TensorFlow graph, without what surrounds it in `openvino.convert_model`.

    That takes five to ten times as long, and tries to report the use of the tool over the network.
    """
    openvino = _openvino()
    try:
        from openvino.frontend.tensorflow.graph_iterator import GraphIteratorTFGraph
    except ImportError:
        return openvino.convert_model(graph)
    frontend = openvino.frontend.FrontEndManager().load_by_framework("tf")
    # It must live until the model is translated; the weights are copied, so that they outlive the graph.
    iterator = GraphIteratorTFGraph(graph, False)
    return frontend.convert(frontend.load(iterator))


class OpenVino:
    """Runs a converted model on the CPU, several small batches side by side, each on threads of its own.

    On two cores, two streams of four images took a fifth to a quarter less processor time than one of thirty-two:
    activations stay in the caches, and no core waits for another within a layer.

    Args:
        compiled: an OpenVINO model with the options of `batch_size` and `precision`.
        batch_size: images at once in a stream; with 1 there is one stream, in which all cores work on an image.
        precision: "float32" or "bfloat16".
    """

    name = "openvino"

    def __init__(self, compiled: Any, batch_size: int, precision: str) -> None:
        self.batch_size, self.precision = batch_size, precision
        self.streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range((1 + _QUEUED_PER_STREAM) * self.streams):
            self._free.put(compiled.create_infer_request())

    def __call__(self, images: np.ndarray) -> Outputs:
        running: deque[tuple[Any, int]] = deque()
        done: list[Outputs] = []
        try:
            for batch in batches(images, self.batch_size):
                request = self._free_request(wait=not running)
                if request is None:
                    # All are taken, this call's own among them: go on with the one that was started first.
                    done.append(self._finished(*running[0]))
                    request, _ = running.popleft()
                running.append((request, len(batch)))
                request.start_async([pad_batch(batch, self.batch_size)], share_inputs=True)
            done.extend(self._finished(request, rows) for request, rows in running)
        finally:
            for request, _ in running:
                request.wait()
                self._free.put(request)
        return concatenated(done)

    def _free_request(self, *, wait: bool) -> Any:
        """Return a free request; without `wait`, None where there is none: who holds one must not wait for another."""
        try:
            return self._free.get(block=wait)
        except Empty:
            return None

    def _finished(self, request: Any, rows: int) -> Outputs:
        request.wait()
        # The request keeps its buffers for the next batch, so what it gave is copied.
        return tuple(np.array(output.data[:rows], np.float32) for output in request.output_tensors)


def _options(batch_size: int, precision: str) -> dict[str, str]:
    hint = "LATENCY" if batch_size == 1 else "THROUGHPUT"
    return {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision], "PERFORMANCE_HINT": hint}


def _file(key: str) -> Path:
    return cache_home() / "engines" / f"{key}.blob"


def _digest(contents: bytes) -> bytes:
    return hashlib.blake2b(contents, digest_size=_DIGEST_BYTES).digest()


def _openvino() -> Any:
    import openvino
    import openvino.frontend

    return openvino
