"""The FastAPI application."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import FastAPI

from transferkit.serving.middleware import RequestMiddleware
from transferkit.serving.options import ServerOptions
from transferkit.serving.responses import add_error_handlers
from transferkit.serving.routes_pages import pages_router
from transferkit.serving.routes_v1 import v1_router
from transferkit.serving.routes_v2 import v2_router
from transferkit.serving.service import Service
from transferkit.serving.store import Load


def create_app(models: Mapping[str, Any], options: ServerOptions | None = None, *, load: Load | None = None) -> FastAPI:
    """Return an application that serves classifiers.

    Args:
        models: dict from the name of each model to the folder of a saved classifier, or to a `Predictor`. A folder is
            loaded at once, and again when it changes.
        options: `ServerOptions`. Defaults to None, all defaults.
        load: function from a folder to a `Predictor`. Defaults to None, `transferkit.load`.

    Returns:
        A FastAPI application; `app.state.service` has its models, metrics and limits.

    Raises:
        ArtifactError: when a folder is no complete classifier.
        DataError: when the folder of the training images has none.
        ValueError: without a model.

    Example:

    >>> app = create_app({"cats_dogs": "cats_dogs"})  # doctest: +SKIP
    """
    options = options or ServerOptions()
    service = Service(models, options, load)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    version = sys.modules["transferkit"].__version__
    app = FastAPI(
        title="transferkit",
        version=version,
        description="Image classification. Errors are JSON: a code and a message.",
        # The pages of FastAPI load scripts from another host.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.add_middleware(RequestMiddleware, options=options, metrics=service.metrics, drain=service.drain)
    add_error_handlers(app)
    app.include_router(v1_router(service))
    app.include_router(v2_router(service, version))
    app.include_router(pages_router(service, app))
    return app
