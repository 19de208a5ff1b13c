"""From the body of a request to the contents of its images: multipart, bytes, or base64 in JSON.

A text in a request is only ever base64: no path is opened.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from transferkit._utils.files import parse_json
from transferkit.serving.body import check_length, chunks_of_body, context_of, read_body
from transferkit.serving.errors import RequestError, bad_request, timed_out, unsupported_type
from transferkit.serving.multipart import read_parts
from transferkit.serving.options import ServerOptions
from transferkit.serving.worker import WorkerThread

ACCEPTED = "multipart/form-data, application/json, application/octet-stream or image/*"
_REMEDY = 'Send {"image": "<base64>"} or {"images": ["<base64>", ...]}.'


@dataclasses.dataclass(frozen=True)
class Upload:
    """The images of a request.

    Attributes:
        images: the contents of files.
        single: whether the response is that for one image rather than a list.
    """

    images: list[bytes]
    single: bool


class UploadReader:
    """Reads the bodies of requests.

    JSON is read in one thread, one body after the other: its values take several times the memory of the text.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._worker = WorkerThread("read JSON")

    async def read(self, request: Request) -> Upload:
        """Return the images of a request.

        Raises:
            ClientDisconnect: when the connection is closed before the end of the body.
            RequestError: when a limit is exceeded, or the body is not of an accepted type.
        """
        content_type = request.headers.get("content-type", "")
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type == "multipart/form-data":
            check_length(request, self._options)
            chunks = chunks_of_body(request, self._options)
            parts = await read_parts(content_type, chunks, self._options.max_images)
            return Upload(parts, len(parts) == 1)
        if media_type == "application/json":
            body = await self._body(request)
            upload: Upload = await self._run(request, lambda: _from_json(body, self._options.max_images))
            return upload
        if media_type == "application/octet-stream" or media_type.startswith("image/"):
            return Upload([await self._body(request)], True)
        raise unsupported_type(repr(media_type[:100]) if media_type else "none", ACCEPTED)

    async def read_json(self, request: Request, convert: Any) -> Any:
        """Return `convert(value)` for the body of a request with JSON."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise unsupported_type(repr(media_type[:100]) if media_type else "none", "application/json")
        body = await self._body(request)
        return await self._run(request, lambda: convert(_parse(body)))

    async def close(self, seconds: float) -> bool:
        """Return whether the thread ended in so many seconds."""
        return await self._worker.close(seconds)

    async def _run(self, request: Request, function: Callable[[], Any]) -> Any:
        try:
            return await asyncio.wait_for(self._worker.run(function), context_of(request).seconds_left)
        except asyncio.TimeoutError:
            raise timed_out(self._options.timeout_seconds) from None

    async def _body(self, request: Request) -> bytes:
        body = await read_body(request, self._options)
        if not body:
            raise bad_request("A request must have a body. Received: none. Send an image.")
        return body


def decode_base64(text: Any, name: str) -> bytes:
    """Return the bytes of a text in base64, or raise a RequestError."""
    if not isinstance(text, str):
        raise bad_request(f"`{name}` must be a text in base64. Received: {_kind(text)}. {_REMEDY}")
    try:
        # Web pages have data URIs, of which the rest is base64.
        encoded = text.partition(";base64,")[2] if text.startswith("data:image/") else text
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        received = f"{text[:40]!r}" if len(text) <= 40 else f"{text[:40]!r}..."
        raise bad_request(
            f"`{name}` must be the contents of an image in base64; paths and addresses are not opened. Received: "
            f"{received}. {_REMEDY}"
        ) from None


def _from_json(body: bytes, max_images: int) -> Upload:
    value = _parse(body)
    if not isinstance(value, dict) or ("image" in value) == ("images" in value):
        raise bad_request(f'The body must have "image" or "images". Received: {_kind(value)}. {_REMEDY}')
    if "image" in value:
        return Upload([decode_base64(value["image"], "image")], True)
    images = value["images"]
    if not isinstance(images, list) or not images:
        raise bad_request(f"`images` must be a list that is not empty. Received: {_kind(images)}. {_REMEDY}")
    if len(images) > max_images:
        raise RequestError(
            413,
            "too_many_images",
            f"A request must have at most {max_images:,} images. Received: {len(images):,}. Send several requests.",
        )
    return Upload([decode_base64(image, f"images[{index}]") for index, image in enumerate(images)], False)


def _parse(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError as error:
        raise bad_request(f"The body must be JSON. Received: a text that is not ({error}). {_REMEDY}") from None


def _kind(value: Any) -> str:
    return f"an object with the keys {sorted(value)[:5]}" if isinstance(value, dict) else type(value).__name__
