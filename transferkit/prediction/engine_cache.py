"""The engines of one model, chosen by the number of images that they are expected to run."""

from __future__ import annotations

import threading
from typing import Any

# The engines of transferkit.engines, which is imported when a model is run.
ENGINES = ("auto", "keras", "frozen_graph", "openvino")
# From this call on, many more are expected: so many that the conversion of any model pays off.
_CALLS_OF_LOOP, ASSUMED_COUNT = 6, 1000


class EngineCache:
    """An engine for single images, for which it has all cores, and one for batches, whose images share them.

    It can be used by several threads at once.
    """

    def __init__(self, model: Any, engine: str, batch_size: int, *, outputs: str) -> None:
        self._model, self._engine, self._batch_size, self._outputs = model, engine, batch_size, outputs
        # For single images and for batches: the number of images that the engine was compiled for, and the engine.
        self._engines: dict[bool, tuple[int, Any]] = {}
        # Likewise: the number of calls and of images.
        self._seen = {True: (0, 0), False: (0, 0)}
        self._lock = threading.Lock()

    def for_count(self, count: int) -> Any:
        """Return the engine for one call with `count` images."""
        with self._lock:
            single = count == 1
            calls, seen = self._seen[single] = self._seen[single][0] + 1, self._seen[single][1] + count
            # Whether a conversion pays off depends on how many images follow. The best guess is as many as so far;
            # after some calls, a service or a loop over files that makes many more.
            return self._compiled(single, seen if calls < _CALLS_OF_LOOP else max(seen, ASSUMED_COUNT))

    def for_service(self) -> list[Any]:
        """Return the engines for single images and for batches, prepared for many calls."""
        with self._lock:
            return [self._compiled(single, ASSUMED_COUNT) for single in (True, False)]

    def model_id(self) -> str:
        """Return digits that differ whenever the outputs of the model could."""
        from transferkit.engines import model_fingerprint

        return model_fingerprint(self._model)

    def _compiled(self, single: bool, expected: int) -> Any:
        compiled = self._engines.get(single)
        if compiled is None or expected > 10 * compiled[0]:
            from transferkit.engines import compile_engine, default_batch_size, select_outputs

            batch_size = 1 if single else min(self._batch_size, default_batch_size())
            model = select_outputs(self._model, self._outputs)
            engine = compile_engine(model, engine=self._engine, batch_size=batch_size, count=expected)
            compiled = self._engines[single] = expected, engine
        return compiled[1]
