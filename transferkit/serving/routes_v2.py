"""The Open Inference Protocol, version 2: health, metadata and inference."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from transferkit.serving.errors import RequestError
from transferkit.serving.models import ServedModel
from transferkit.serving.responses import INFER_BODY, error_responses
from transferkit.serving.service import Service
from transferkit.serving.tensors import InferRequest, infer_response, model_metadata, parse_infer_request

_ERRORS = error_responses(400, 401, 404, 408, 413, 415, 422, 429, 500, 504)
_OF_MODEL = error_responses(401, 404)


def v2_router(service: Service, version: str) -> APIRouter:
    """Return the routes of /v2."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @router.get("", summary="The name and version of the server.")
    async def server_metadata(request: Request) -> Response:
        service.check_access(request)
        return JSONResponse({"name": "transferkit", "version": version, "extensions": []})

    @router.get("/health/live", summary="Whether the server runs; without an API key.")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @router.get(
        "/health/ready", responses=error_responses(503), summary="Whether requests are accepted; without an API key."
    )
    async def ready() -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @router.get("/models/{name}", responses=_OF_MODEL, summary="The tensors of a model.")
    async def metadata(request: Request, name: str) -> Response:
        service.check_access(request)
        return JSONResponse(model_metadata(service.store.get(name)))

    @router.get("/models/{name}/ready", responses=_OF_MODEL, summary="Whether a model accepts requests.")
    async def model_ready(request: Request, name: str) -> Response:
        service.check_access(request)
        model = service.store.get(name)
        return JSONResponse({"name": model.name, "ready": service.ready}, 200 if service.ready else 503)

    @router.post(
        "/models/{name}/infer",
        responses=_ERRORS,
        openapi_extra=INFER_BODY,
        summary="The probabilities, or the numbers, of a tensor of images, or of encoded images.",
    )
    async def infer(request: Request, name: str) -> Response:
        def convert(value: Any, model: ServedModel) -> InferRequest:
            return parse_infer_request(value, model, service.options.max_images)

        model, body, results = await service.run_json(request, name, convert)
        for result in results:
            # A tensor has no place for the error of one image.
            if isinstance(result, RequestError):
                raise result
        return JSONResponse(infer_response(model, body.request_id, results))

    return router
