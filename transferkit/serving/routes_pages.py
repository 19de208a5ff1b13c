"""The pages for people, the OpenAPI document and the metrics. They make no request to another host."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from transferkit.serving.openapi_page import openapi_html
from transferkit.serving.service import Service

_FOLDER = Path(__file__).parent / "static"
_FILES = {"page.js": "text/javascript", "page.css": "text/css"}


def pages_router(service: Service, app: FastAPI) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter(include_in_schema=False)
    index = (_FOLDER / "index.html").read_text(encoding="utf-8")

    @router.get("/")
    async def page() -> Response:
        return HTMLResponse(index)

    # One route for each file, so that no part of an address becomes a path.
    for name, media_type in _FILES.items():
        contents = (_FOLDER / name).read_bytes()
        router.add_api_route(f"/static/{name}", _file(contents, media_type), methods=["GET"])

    @router.get("/favicon.ico")
    async def icon() -> Response:
        # Browsers request it, and log a failure otherwise.
        return Response(status_code=204)

    @router.get("/docs")
    async def docs() -> Response:
        return HTMLResponse(openapi_html(app.openapi()))

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        service.check_access(request)
        return Response(service.metrics.to_text(), media_type=CONTENT_TYPE_LATEST)

    return router


def _file(contents: bytes, media_type: str):  # type: ignore[no-untyped-def]
    async def file() -> Response:
        return Response(contents, media_type=media_type)

    return file
