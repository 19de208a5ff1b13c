"""Runs the images of requests on the models: what the routes of both interfaces share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request

from transferkit._utils.text import printable
from transferkit.errors import DataError
from transferkit.serving.api_key import check_api_key
from transferkit.serving.body import context_of
from transferkit.serving.context import Drain
from transferkit.serving.errors import RequestError, not_supported, timed_out
from transferkit.serving.metrics import Metrics
from transferkit.serving.models import ServedModel
from transferkit.serving.neighbors import TrainingImages
from transferkit.serving.options import ServerOptions
from transferkit.serving.store import Load, ModelStore
from transferkit.serving.uploads import Upload, UploadReader
from transferkit.serving.worker import WorkerThread

_LOG = logging.getLogger("transferkit.serving")


class Service:
    """The models, the reader of bodies, and the background tasks of one app."""

    def __init__(self, models: Mapping[str, Any], options: ServerOptions, load: Load | None = None) -> None:
        self.options: ServerOptions = options
        self.metrics: Metrics = Metrics()
        self.drain: Drain = Drain()
        self.store: ModelStore = ModelStore(models, options, self.metrics, load)
        self.reader: UploadReader = UploadReader(options)
        self._worker = WorkerThread("training images")
        self._tasks: set[asyncio.Task[None]] = set()
        # Whether all threads ended.
        self.closed: bool = False
        # An invalid folder is an error before the server starts.
        if options.training_images is not None:
            for model in self.store.models:
                model.neighbors = TrainingImages(Path(options.training_images))

    def start(self) -> None:
        """Start the background tasks in the running event loop."""
        for model in self.store.models:
            self._compute_neighbors(model)
        if self.options.reload_seconds:
            self._start(self.store.watch(self._on_change))

    async def close(self) -> None:
        """Finish the requests that wait, then end all tasks and threads."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        seconds = self.options.timeout_seconds
        ended = [self.store.close(), self.reader.close(seconds), self._worker.close(seconds)]
        self.closed = all(await asyncio.gather(*ended))

    @property
    def ready(self) -> bool:
        """Whether requests are accepted."""
        return not self.drain.started

    def check_access(self, request: Request) -> None:
        """Raise a RequestError when a request has no API key, where one is required."""
        check_api_key(request.headers, self.options.api_keys)

    async def run_uploads(
        self, request: Request, name: str | None, operation: str, item: Any = lambda model, image: image
    ) -> tuple[ServedModel, Upload, list[Any]]:
        """Return the model, the images of a request, and the results of an operation on them."""
        self.check_access(request)
        batcher = self.store.get(name).batcher(operation)
        # Before the body is read, which would be in vain.
        batcher.check_space()
        with batcher.arriving():
            upload = await self.reader.read(request)
            # The model may have been replaced in the meantime.
            model = self.store.get(name)
            items = [item(model, image) for image in upload.images]
            pending = self._submit(request, model, operation, items)
        return model, upload, await self._results(pending, model, operation)

    async def run_json(self, request: Request, name: str, convert: Any) -> tuple[ServedModel, Any, list[Any]]:
        """Return the model, the converted body of a request with JSON, and the predictions of its images."""
        self.check_access(request)
        batcher = self.store.get(name).batcher("predict")
        batcher.check_space()
        with batcher.arriving():
            before = self.store.get(name)
            converted = await self.reader.read_json(request, lambda value: convert(value, before))
            model = self.store.get(name)
            if (model.image_size, model.output[0]) != (before.image_size, before.output[0]):
                raise RequestError(
                    409, "model_replaced", "The model must stay the same. Received: one of another size. Try again."
                )
            pending = self._submit(request, model, "predict", converted.images)
        return model, converted, await self._results(pending, model, "predict")

    def check_neighbors(self, model: ServedModel) -> TrainingImages:
        """Return the training images of a model, or raise a RequestError."""
        if model.neighbors is None:
            raise not_supported("a server without --training-images")
        if not model.neighbors.ready:
            raise RequestError(
                503,
                "not_ready",
                f"The training images must be ready. Received: a request before ({model.neighbors.problem}). "
                "Try again later.",
                {"Retry-After": "5"},
            )
        found: TrainingImages = model.neighbors
        return found

    async def _results(self, pending: Awaitable[list[Any]], model: ServedModel, operation: str) -> list[Any]:
        """Return the results of images, or raise the first error that is not that of one image."""
        try:
            results = await pending
        except asyncio.TimeoutError:
            raise timed_out(self.options.timeout_seconds) from None
        for result in results:
            if isinstance(result, RequestError) and result.status == 422:
                self.metrics.unreadable.labels(model.name, operation).inc()
            elif isinstance(result, Exception):
                raise result
        return results

    def _submit(self, request: Request, model: ServedModel, operation: str, items: list[Any]) -> Awaitable[list[Any]]:
        context = context_of(request)
        context.details |= {"model": model.name, "model_version": model.version, "images": len(items)}
        return model.batcher(operation).submit(items, context.seconds_left)

    def _on_change(self, model: ServedModel) -> None:
        if self.options.training_images is None:
            return
        try:
            model.neighbors = TrainingImages(Path(self.options.training_images))
        except DataError as error:
            # The folder was valid when the server started.
            _LOG.error("There are no similar training images: %s", printable(error))
        self._compute_neighbors(model)

    def _compute_neighbors(self, model: ServedModel) -> None:
        if model.neighbors is not None:
            self._start(model.neighbors.compute(model.predictor, self._worker))

    def _start(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
