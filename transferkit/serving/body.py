"""Reads the body of a request within the limits of bytes and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from transferkit.serving.context import CONTEXT, RequestContext
from transferkit.serving.errors import RequestError, bad_request, too_large
from transferkit.serving.options import ServerOptions


def context_of(request: Request) -> RequestContext:
    """Return the context that the middleware made."""
    context: RequestContext = request.scope[CONTEXT]
    return context


def check_length(request: Request, options: ServerOptions) -> None:
    """Raise a RequestError when the declared length is too large, or no number."""
    declared = request.headers.get("content-length")
    if declared is None:
        return
    if not (declared.isascii() and declared.isdecimal()):
        raise bad_request(f"Content-Length must be a number. Received: {declared[:50]!r}. Correct the header.")
    # A text of very many digits is no int.
    if len(declared) > 18 or int(declared) > options.max_upload_bytes:
        raise too_large(f"a body of {declared[:20]} bytes", options.max_upload_bytes)


async def chunks_of_body(request: Request, options: ServerOptions) -> AsyncIterator[bytes]:
    """Yield the body in chunks; its size and its time are limited while it is read.

    Raises:
        ClientDisconnect: when the connection is closed before the end.
        RequestError: for a limit.
    """
    check_length(request, options)
    context = context_of(request)
    total, more = 0, True
    while more:
        try:
            message = await asyncio.wait_for(request.receive(), context.seconds_left)
        except asyncio.TimeoutError:
            raise RequestError(
                408,
                "body_too_slow",
                f"A body must arrive within {options.timeout_seconds:g} seconds. Received: {total:,} bytes in that "
                "time. Send it faster, or smaller.",
                {"Connection": "close"},
            ) from None
        if message["type"] != "http.request":
            raise ClientDisconnect()
        chunk, more = message.get("body", b""), message.get("more_body", False)
        total += len(chunk)
        if total > options.max_upload_bytes:
            raise too_large("a body with more", options.max_upload_bytes)
        context.buffer(len(chunk))
        if chunk:
            yield chunk


async def read_body(request: Request, options: ServerOptions) -> bytes:
    """Return the body; raises as `chunks_of_body` does."""
    body = bytearray()
    async for chunk in chunks_of_body(request, options):
        body += chunk
    return bytes(body)
