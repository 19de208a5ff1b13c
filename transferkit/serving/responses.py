"""Error responses, and the descriptions of bodies for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from transferkit.serving.errors import RequestError, bad_request

_ERRORS = {
    400: "The request has a wrong form.",
    401: "The API key is missing or wrong.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The body or the number of images is too large.",
    415: "The Content-Type is not supported.",
    422: "An image cannot be read.",
    429: "The server has too much to do; try again later.",
    500: "The server failed.",
    501: "The model does not support this function.",
    503: "The server is not ready.",
    504: "The response was not ready in time.",
}
_ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "error": {"type": "object", "properties": {"code": {"type": "string"}, "message": {"type": "string"}}}
    },
}
_BASE64 = {"type": "string", "contentEncoding": "base64"}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"image": _BASE64, "images": {"type": "array", "items": _BASE64}},
                }
            },
            "application/octet-stream": _BINARY,
            "image/*": _BINARY,
        },
    }
}
INFER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "inputs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name", "shape", "datatype", "data"],
                                "properties": {
                                    "name": {"type": "string", "enum": ["image"]},
                                    "shape": {"type": "array", "items": {"type": "integer"}},
                                    "datatype": {"type": "string", "enum": ["UINT8", "FP32", "BYTES"]},
                                    "data": {"type": "array", "items": {}},
                                },
                            },
                        },
                    },
                }
            }
        },
    }
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route for the OpenAPI document."""
    content = {"application/json": {"schema": _ERROR_SCHEMA}}
    return {status: {"description": _ERRORS[status], "content": content} for status in statuses}


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with JSON."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return _response(request, error)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        message = f"The address must be one of those in /docs. Received: {request.method[:20]} of another one."
        return _response(request, RequestError(error.status_code, code, message, error.headers))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        fields = ", ".join(str(one["loc"][-1]) for one in error.errors()[:5])
        return _response(request, bad_request(f"The parameters must be valid. Received: others for {fields[:200]}."))

    async def disconnected(request: Request, error: Exception) -> Response:
        # For the access log alone: the status that nginx has for it.
        return Response(status_code=499)

    app.add_exception_handler(RequestError, refused)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, disconnected)


def _response(request: Request, error: RequestError) -> Response:
    # The Open Inference Protocol has a text there.
    body = {"error": error.message} if request.url.path.startswith("/v2") else error.to_dict()
    return JSONResponse(body, error.status, headers=error.headers)
