"""OpenVINO as an engine (extra `fast`): the fastest on CPUs for every backbone tested, and twice as fast in bfloat16.

Reference: https://docs.openvino.ai/2025/openvino-workflow/running-inference.html
"""

from __future__ import annotations

import contextlib
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from transferkit._utils.cache_limit import evict, mark_used
from transferkit._utils.files import atomic_write, cache_home
from transferkit._utils.hashing import HASH_BYTES, content_hash
from transferkit._utils.openvino import import_openvino, openvino_core, thread_options
from transferkit.runtimes.base import Outputs, concatenate, pad_batch

# Batches queued per stream beyond the running one, so that no stream waits for Python.
_QUEUED_PER_STREAM = 2
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def convert(function: Any, key: str, batch_size: int, precision: str) -> OpenVino:
    """Convert a frozen TensorFlow function and cache the compiled model on disk.

    `key` identifies everything that the result depends on, except for the precision, which is chosen on loading.
    """
    model = translate(function.graph)
    compiled = openvino_core().compile_model(model, "CPU", _options(batch_size, precision))
    file = _cache_file(key)
    # Without a writable cache the model is converted again next time.
    with contextlib.suppress(OSError), atomic_write(file) as path:
        exported = compiled.export_model()
        # OpenVINO 2025.0 returns bytes, later versions a stream.
        content = exported if isinstance(exported, bytes) else exported.getvalue()
        with open(path, "wb") as stream:
            stream.write(content_hash(content))
            stream.write(content)
    evict(keep={file})
    return OpenVino(compiled, batch_size, precision)


def load_compiled(key: str, batch_size: int, precision: str) -> OpenVino | None:
    """Return the model cached under `key`, or None when it is missing or damaged."""
    try:
        mark_used(_cache_file(key))
        with open(_cache_file(key), "rb") as file:
            digest, content = file.read(HASH_BYTES), file.read()
        if digest != content_hash(content):
            return None
        compiled = openvino_core().import_model(content, "CPU", _options(batch_size, precision))
    except (OSError, RuntimeError):
        return None
    return OpenVino(compiled, batch_size, precision)


def is_cached(key: str) -> bool:
    """Return whether a model is cached under `key`."""
    return _cache_file(key).is_file()


def translate(graph: Any) -> Any:
    """Return the OpenVINO model of a TensorFlow graph; `openvino.convert_model` takes five to ten times as long."""
    frontend = import_openvino("openvino.frontend").FrontEndManager().load_by_framework("tf")
    # The iterator must live until the model is translated; weights are copied, so that they outlive the graph.
    iterator = import_openvino("openvino.frontend.tensorflow.graph_iterator").GraphIteratorTFGraph(graph, False)
    return frontend.convert(frontend.load(iterator))


class OpenVino:
    """Runs a compiled model on the CPU, several small batches concurrently, each on its own threads.

    On two cores, two streams of four images take a fifth to a quarter less CPU time than one of 32: activations stay in
    the caches, and no core waits for another within a layer. With batch size 1 all cores work on one image.
    """

    name = "openvino"

    def __init__(self, compiled: Any, batch_size: int, precision: str) -> None:
        self.batch_size: int = batch_size
        self.precision: str = precision
        self.streams: int = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range((1 + _QUEUED_PER_STREAM) * self.streams):
            self._free.put(compiled.create_infer_request())

    def __call__(self, images: np.ndarray) -> Outputs:
        running: deque[tuple[Any, int]] = deque()
        completed: list[Outputs] = []
        try:
            for start in range(0, len(images), self.batch_size):
                batch = images[start : start + self.batch_size]
                request = self._free_request(wait=not running)
                if request is None:
                    # All requests are taken, some by this call: reuse the one that it started first.
                    completed.append(self._wait(*running[0]))
                    request, _ = running.popleft()
                running.append((request, len(batch)))
                request.start_async([pad_batch(batch, self.batch_size)], share_inputs=True)
            completed.extend(self._wait(request, rows) for request, rows in running)
        finally:
            for request, _ in running:
                request.wait()
                self._free.put(request)
        return concatenate(completed)

    def _free_request(self, *, wait: bool) -> Any:
        """Return a free request; without `wait`, None if there is none: a holder must not wait for another."""
        try:
            return self._free.get(block=wait)
        except Empty:
            return None

    def _wait(self, request: Any, rows: int) -> Outputs:
        request.wait()
        # The request reuses its buffers for the next batch.
        return tuple(np.array(output.data[:rows], np.float32) for output in request.output_tensors)


def _options(batch_size: int, precision: str) -> dict[str, Any]:
    hint = "LATENCY" if batch_size == 1 else "THROUGHPUT"
    return {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision], "PERFORMANCE_HINT": hint, **thread_options()}


def _cache_file(key: str) -> Path:
    return cache_home() / "engines" / f"{key}.blob"
