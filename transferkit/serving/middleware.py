"""What holds for every request: its identifier, security headers, access log, metrics, and the end of its body."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

from transferkit.serving.context import CONTEXT, Drain, RequestContext, UploadBudget
from transferkit.serving.metrics import Metrics
from transferkit.serving.options import ServerOptions

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ACCESS = logging.getLogger("transferkit.access")
_LOG = logging.getLogger("transferkit.serving")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_MAX_LOGGED = 200
# How long the rest of a refused body is read, so that the client sees the response rather than a reset connection.
_LINGER_SECONDS = 2.0
_CONTENT_POLICY = b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_SECURITY_HEADERS = [
    (b"content-security-policy", _CONTENT_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class RequestMiddleware:
    """The outermost part of the app."""

    def __init__(self, app: Any, options: ServerOptions, metrics: Metrics, drain: Drain) -> None:
        self._app, self._options, self._metrics, self._drain = app, options, metrics, drain
        self._budget = UploadBudget(options.max_buffered_bytes, metrics)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Run the app for one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._options.timeout_seconds
        context = scope[CONTEXT] = RequestContext(_request_id(scope), deadline, self._budget)
        exchange = _Exchange(scope, receive, self._limited(send), self._drain)
        started = time.perf_counter()
        try:
            with self._metrics.in_progress.track_inprogress():
                await self._respond(scope, exchange)
        finally:
            context.release()
            self._record(scope, context, exchange, time.perf_counter() - started)

    def _limited(self, send: Send) -> Send:
        """Return `send` with a limit for clients that do not read, whose body would stay in memory."""

        async def limited(message: Message) -> None:
            try:
                await asyncio.wait_for(send(message), self._options.timeout_seconds)
            except asyncio.TimeoutError:
                raise ClientDisconnect() from None

        return limited

    async def _respond(self, scope: Message, exchange: _Exchange) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            return
        except Exception:
            _LOG.exception("A request failed")
            if not exchange.status:
                await exchange.send_error(500, "internal_error", "The server failed. Its log has the reason.")

    def _record(self, scope: Message, context: RequestContext, exchange: _Exchange, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.observe_request(route, exchange.status, seconds)
        self._metrics.received.inc(exchange.received)
        if _ACCESS.isEnabledFor(logging.INFO):
            entry = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "request_id": context.request_id,
                "client": (scope.get("client") or ("",))[0],
                "method": scope["method"][:_MAX_LOGGED],
                "path": scope["path"][:_MAX_LOGGED],
                "status": exchange.status,
                "milliseconds": round(1000 * seconds, 1),
                "received_bytes": exchange.received,
                **context.details,
            }
            # Escaped, so that no path can begin another line.
            _ACCESS.info(json.dumps(entry))


class _Exchange:
    """The messages of a request: counts the body, adds headers, and reads the rest of a refused body."""

    def __init__(self, scope: Message, receive: Receive, send: Send, drain: Drain) -> None:
        self._receive, self._send, self._drain = receive, send, drain
        self._request_id = scope[CONTEXT].request_id
        headers = dict(scope["headers"])
        self._has_rest = b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip() != b"0"
        self.status, self.received = 0, 0

    async def receive(self) -> Message:
        """Return the next message of the client."""
        message = await self._receive()
        self.received += len(message.get("body", b""))
        self._has_rest = self._has_rest and message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a message to the client."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(b"x-request-id", self._request_id.encode())]
            if self._has_rest or self._drain.started:
                own.append((b"connection", b"close"))
            present = {name.lower() for name, _ in message.get("headers", [])}
            own += [(name, value) for name, value in _SECURITY_HEADERS if name not in present]
            await self._send({**message, "headers": [*message.get("headers", []), *own]})
        elif self._has_rest and not message.get("more_body", False):
            # The response has its length, so the client has all of it before the last message.
            await self._send({**message, "more_body": True})
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._discard(), _LINGER_SECONDS)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._send(message)

    async def send_error(self, status: int, code: str, message: str) -> None:
        """Send a response with an error."""
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _discard(self) -> None:
        while self._has_rest:
            await self.receive()


def _request_id(scope: Message) -> str:
    given = dict(scope["headers"]).get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
