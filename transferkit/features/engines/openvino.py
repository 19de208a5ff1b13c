"""OpenVINO, by the extra `fast`: on CPUs first or level on every backbone that was tried, and faster still in bfloat16.

Reference: https://docs.openvino.ai/2025/openvino-workflow/running-inference.html
"""

from __future__ import annotations

import importlib.util
import os
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from transferkit._storage import atomic_folder, home, lock, sha256_of
from transferkit.errors import MissingExtraError
from transferkit.features.engines.base import Outputs, batches, concatenated, padded

__all__ = ["OpenVino", "cached_model", "convert", "installed"]

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def installed() -> bool:
    """Return whether the package is there."""
    return importlib.util.find_spec("openvino") is not None


def convert(function: Any, key: str) -> Any:
    """Convert a frozen TensorFlow function, keep the result on disk under `key`, and return it."""
    model = _translated(function.graph)
    folder = _folder(key)
    with lock(folder.with_suffix(".lock")), atomic_folder(folder) as fresh:
        # Compressed to half precision, which is the default, the weights would no longer be the model's.
        _openvino().save_model(model, str(fresh / "model.xml"), compress_to_fp16=False)
        sums = "\n".join(f"{sha256_of(fresh / name)}  {name}" for name in ("model.xml", "model.bin"))
        (fresh / "SHA256SUMS").write_text(sums)
    return model


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


def cached_model(key: str) -> Any:
    """Return the model that was converted before under `key`, or None; a file that is not whole counts as none."""
    folder = _folder(key)
    try:
        lines = (folder / "SHA256SUMS").read_text().splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        if not sums or any(sha256_of(folder / name) != digest for name, digest in sums.items()):
            return None
        os.utime(folder)
        return _openvino().Core().read_model(str(folder / "model.xml"))
    except (OSError, ValueError, RuntimeError):
        return None


class OpenVino:
    """Runs a converted model on the CPU, several small batches side by side, each on threads of its own.

    On two cores, two streams of four images took a fifth to a quarter less processor time than one of thirty-two:
    activations stay in the caches, and no core waits for another within a layer.

    Args:
        model: what `convert` or `cached_model` gave.
        batch_size: images at once in a stream; with 1 there is one stream, in which all cores work on an image.
        precision: "float32" or "bfloat16".
    """

    name = "openvino"

    def __init__(self, model: Any, batch_size: int, precision: str) -> None:
        self.batch_size, self.precision = batch_size, precision
        hint = "LATENCY" if batch_size == 1 else "THROUGHPUT"
        options = {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision], "PERFORMANCE_HINT": hint}
        self._compiled = _openvino().Core().compile_model(model, "CPU", options)
        self.streams = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.streams):
            self._free.put(self._compiled.create_infer_request())

    def __call__(self, images: np.ndarray) -> Outputs:
        running: deque[tuple[Any, int]] = deque()
        done: list[Outputs] = []
        try:
            for batch in batches(images, self.batch_size):
                request = self._free_request(wait=not running)
                if request is None:
                    # All streams are taken, this call's own among them: go on with the one that was started first.
                    done.append(self._finished(*running[0]))
                    request, _ = running.popleft()
                running.append((request, len(batch)))
                request.start_async([padded(batch, self.batch_size)], share_inputs=True)
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


def _folder(key: str) -> Path:
    return home() / "engines" / key


def _openvino() -> Any:
    if not installed():
        raise MissingExtraError("The engine 'openvino'", "openvino", "fast")
    import openvino
    import openvino.frontend

    return openvino
