"""The JSON interface: predictions, features, explanations, similar training images."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from transferkit._utils.checks import did_you_mean
from transferkit.serving.errors import RequestError, bad_request
from transferkit.serving.models import ServedModel
from transferkit.serving.operations import ExplainItem, HeatMap
from transferkit.serving.responses import UPLOAD_BODY, error_responses
from transferkit.serving.service import Service
from transferkit.serving.uploads import Upload

_MODEL = Query(None, description="The name of the model; required where several are served.")
_ERRORS = error_responses(400, 401, 404, 408, 413, 415, 422, 429, 500, 504)


def v1_router(service: Service) -> APIRouter:
    """Return the routes of /v1."""
    router = APIRouter(prefix="/v1", tags=["v1"])
    options: dict[str, Any] = {"openapi_extra": UPLOAD_BODY, "response_class": JSONResponse}
    with_501 = {**_ERRORS, **error_responses(501)}

    @router.get("/models", responses=error_responses(401), summary="The served models with their classes.")
    async def models(request: Request) -> Response:
        service.check_access(request)
        return JSONResponse({"models": [_describe(model) for model in service.store.models]})

    @router.post("/predict", responses=_ERRORS, summary="The class of one or several images.", **options)
    async def predict(request: Request, model: str | None = _MODEL) -> Response:
        served, upload, results = await service.run_uploads(request, model, "predict")
        return _response(served, upload, results, _prediction, "predictions")

    @router.post("/embed", responses=with_501, summary="The features of one or several images.", **options)
    async def embed(request: Request, model: str | None = _MODEL) -> Response:
        served, upload, results = await service.run_uploads(request, model, "embed")
        return _response(served, upload, results, lambda row: {"embedding": row.tolist()}, "embeddings")

    @router.post(
        "/explain",
        responses=with_501,
        summary="The heat map of the class, as JSON or with Accept: image/png.",
        **options,
    )
    async def explain(request: Request, model: str | None = _MODEL, class_name: str | None = None) -> Response:
        def item(served: ServedModel, image: bytes) -> ExplainItem:
            _check_class(served, class_name)
            return ExplainItem(image, class_name)

        served, upload, results = await service.run_uploads(request, model, "explain", item)
        if _wants_png(request):
            if not upload.single:
                raise bad_request("A response of the type image/png must have one image. Received: several images.")
            if isinstance(results[0], RequestError):
                raise results[0]
            return Response(results[0].png, media_type="image/png")
        return _response(served, upload, results, _explanation, "explanations")

    @router.post("/neighbors", responses=with_501, summary="The most similar training images of an image.", **options)
    async def neighbors(request: Request, model: str | None = _MODEL, count: int = Query(5, ge=1, le=50)) -> Response:
        service.check_access(request)
        service.check_neighbors(service.store.get(model))
        served, upload, results = await service.run_uploads(request, model, "embed")
        images = service.check_neighbors(served)
        found = [
            one if isinstance(one, RequestError) else await asyncio.to_thread(images.nearest, one, count)
            for one in results
        ]
        return _response(served, upload, found, lambda best: {"neighbors": [vars(one) for one in best]}, "results")

    return router


def _response(served: ServedModel, upload: Upload, results: list[Any], convert: Any, key: str) -> Response:
    """Return the result for one image, or a list with one result or error for each of several."""
    model = {"model": served.name, "model_version": served.version}
    if upload.single:
        if isinstance(results[0], RequestError):
            raise results[0]
        return JSONResponse({**model, **convert(results[0])})
    listed = [one.to_dict() if isinstance(one, RequestError) else convert(one) for one in results]
    status = 422 if all(isinstance(one, RequestError) for one in results) else 200
    return JSONResponse({**model, key: listed}, status)


def _prediction(prediction: Any) -> dict[str, Any]:
    # The path is None for uploads, and an error has another form.
    return {name: value for name, value in prediction.to_dict().items() if name not in ("path", "error")}


def _explanation(heat_map: HeatMap) -> dict[str, Any]:
    return {
        **heat_map.explained,
        "method": heat_map.method,
        "heat_map_png": base64.b64encode(heat_map.png).decode(),
    }


def _describe(model: ServedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "class_names": list(model.class_names),
        "image_size": list(model.image_size),
        "has_neighbors": model.neighbors is not None,
    }


def _check_class(model: ServedModel, class_name: str | None) -> None:
    if class_name is not None and class_name not in model.class_names:
        hint = did_you_mean(class_name, model.class_names)
        raise bad_request(f"`class_name` must be a class of the model. Received: {class_name[:100]!r}. {hint}".strip())


def _wants_png(request: Request) -> bool:
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return "image/png" in accepted and "application/json" not in accepted
