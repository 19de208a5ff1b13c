"""HTTP/1.1 connections: a time limit for headers, errors as JSON, and a shutdown that loses no request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from transferkit.serving.context import Drain

# How long an idle connection stays open in a shutdown: a request may be on its way.
_DRAIN_SECONDS = 0.5
_MAX_HEADER_SECONDS = 10.0


class HttpProtocol(H11Protocol):
    """A connection of uvicorn.

    Args:
        drain: of the app.
        timeout_seconds: limit for the headers of a request, at most 10 seconds.
    """

    def __init__(self, *args: Any, drain: Drain, timeout_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._drain = drain
        self._header_seconds = min(timeout_seconds, _MAX_HEADER_SECONDS)
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit for the first headers."""
        super().connection_made(transport)
        self._start_header_timer()
        if self._drain.started:
            self.loop.call_later(_DRAIN_SECONDS, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time limit."""
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request; its headers have a time limit from their first byte on."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_idle():
            self._start_header_timer()
        else:
            self._stop_header_timer()

    def handle_events(self) -> None:
        """Handle received bytes; in a shutdown, a request is the last one of its connection."""
        super().handle_events()
        if self._drain.started and self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP."""
        message = "A request must be HTTP/1.1. Received: another one. Correct its headers or its encoding."
        self._refuse(400, "invalid_http", message)

    def shutdown(self) -> None:
        """Close the connection: at once after a request in progress, else after a moment."""
        if self._is_idle():
            self.loop.call_later(_DRAIN_SECONDS, self._close_if_idle)
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def _is_idle(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and self.conn.their_state is h11.IDLE

    def _close_if_idle(self) -> None:
        if self._is_idle() and not self.transport.is_closing():
            self.transport.close()

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self._header_seconds, self._headers_are_late)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_are_late(self) -> None:
        self._header_timer = None
        if self._is_idle() and not self.transport.is_closing():
            message = (
                f"The headers must arrive within {self._header_seconds:g} seconds. Received: a part of them in that "
                "time. Send them faster."
            )
            self._refuse(408, "headers_too_slow", message)

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer without the app, where no response has begun, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": {"code": code, "message": message}}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            events = [h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()]
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        if self.cycle is not None and not self.cycle.response_complete:
            # The app must not answer the same request.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
