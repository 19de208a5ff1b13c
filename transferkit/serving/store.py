"""The models of the server, and their replacement when their folders change."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transferkit._utils.checks import did_you_mean
from transferkit._utils.text import printable
from transferkit.serving.errors import RequestError, bad_request
from transferkit.serving.metrics import Metrics
from transferkit.serving.models import ServedModel, load_predictor, version_of
from transferkit.serving.options import ServerOptions
from transferkit.serving.worker import WorkerThread

_LOG = logging.getLogger("transferkit.serving")
Load = Callable[[Path], Any]
# Names, sizes and times of the files of a folder.
Signature = tuple[tuple[str, int, int], ...]


class ModelStore:
    """The served models by name; a changed folder replaces its model as soon as the new one is loaded.

    Args:
        sources: name -> the folder of a saved classifier, or a `Predictor`, which is never replaced.
        options: `ServerOptions`.
        metrics: of the app.
        load: function from a folder to a `Predictor`. Defaults to None, `transferkit.load`.
    """

    def __init__(
        self, sources: Mapping[str, Any], options: ServerOptions, metrics: Metrics, load: Load | None = None
    ) -> None:
        if not sources:
            raise ValueError("`models` must have at least one model. Received: none. Give the folder of a classifier.")
        self._options, self._metrics = options, metrics
        self._load = load or functools.partial(load_predictor, engine="auto")
        self._folders: dict[str, Path] = {}
        self._signatures: dict[str, Signature] = {}
        self._models: dict[str, ServedModel] = {}
        self._closing: set[asyncio.Task[bool]] = set()
        for name, source in sources.items():
            if isinstance(source, (str, os.PathLike)):
                self._folders[name] = Path(source)
                # Before it is loaded, so that a change in the meantime is found.
                self._signatures[name] = _signature(self._folders[name])
                version = version_of_or_new(self._folders[name])
                source = self._load(self._folders[name])
            else:
                version = "1"
            self._models[name] = ServedModel(name, version, source, options, metrics)

    @property
    def models(self) -> list[ServedModel]:
        """The models in the order in which they were given."""
        return list(self._models.values())

    def get(self, name: str | None) -> ServedModel:
        """Return a model by name; the only one where `name` is None.

        Raises:
            RequestError: for an unknown name, or none where there are several models.
        """
        if name is None and len(self._models) == 1:
            return next(iter(self._models.values()))
        listed = ", ".join(map(repr, self._models))
        if name is None:
            raise bad_request(f"`model` must be one of {listed}. Received: none. Add it to the address as ?model=NAME.")
        if name not in self._models:
            message = f"The model must be one of {listed}. Received: {name[:100]!r}. {did_you_mean(name, self._models)}"
            raise RequestError(404, "model_not_found", message.strip())
        return self._models[name]

    async def watch(self, on_change: Callable[[ServedModel], None]) -> None:
        """Check the folders again and again; `on_change` is called with each new model."""
        worker = WorkerThread("reload models")
        try:
            while True:
                await asyncio.sleep(self._options.reload_seconds)
                for name in self._folders:
                    if (model := await self._reload(name, worker)) is not None:
                        on_change(model)
        finally:
            # A model that is being loaded is no longer needed, but a thread must not run when Python ends.
            await worker.close(self._options.timeout_seconds)

    async def close(self) -> bool:
        """Finish the images that wait; return whether all threads ended in time."""
        models = [model.close(self._options.timeout_seconds) for model in self._models.values()]
        return all(await asyncio.gather(*models, *self._closing))

    async def _reload(self, name: str, worker: WorkerThread) -> ServedModel | None:
        folder, old = self._folders[name], self._models[name]
        signature = await worker.run(_signature, folder)
        if signature == self._signatures[name]:
            return None
        self._signatures[name] = signature
        try:
            version = await worker.run(version_of, folder)
            if version == old.version:
                return None
            predictor = await worker.run(self._load, folder)
        except Exception as error:
            # For any reason, the old model is kept; the next change of the folder is the next attempt.
            _LOG.error("The model %r is not replaced: %s", printable(name), printable(error))
            self._metrics.reloads.labels(name, "failed").inc()
            return None
        new = self._models[name] = ServedModel(name, version, predictor, self._options, self._metrics)
        _LOG.info("The model %r is replaced by version %s", printable(name), version)
        self._metrics.reloads.labels(name, "loaded").inc()
        closing = asyncio.get_running_loop().create_task(old.close(self._options.timeout_seconds))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return new


def version_of_or_new(folder: Path) -> str:
    """Return the version of a folder; "" where there is none, which loading it reports."""
    try:
        return version_of(folder)
    except OSError:
        return ""


def _signature(folder: Path) -> Signature:
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries]
    except OSError:
        return ()
    return tuple(sorted((name, status.st_size, status.st_mtime_ns) for name, status in found))
