"""Runs the application with uvicorn until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from transferkit.serving.app import create_app
from transferkit.serving.context import Drain
from transferkit.serving.http_protocol import HttpProtocol
from transferkit.serving.models import load_predictor
from transferkit.serving.options import ServerOptions

_LOG = logging.getLogger("transferkit.serving")
_ACCESS = logging.getLogger("transferkit.access")
_MAX_HEADER_BYTES = 32 << 10


class Server(uvicorn.Server):
    """A server that a signal ends successfully: it finishes accepted requests."""

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown."""
        self._drain.started = True
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals without repeating them at the end, which would be the exit status of a failure."""
        # Only the main thread can receive signals.
        is_main = threading.current_thread() is threading.main_thread()
        signals = (signal.SIGINT, signal.SIGTERM) if is_main else ()
        originals = {one: signal.signal(one, self.handle_exit) for one in signals}
        try:
            yield
        finally:
            for one, handler in originals.items():
                signal.signal(one, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and log the address."""
        await super().startup(sockets)
        for server in getattr(self, "servers", []):
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                _LOG.info("Listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no new connections, and finish the requests of all others."""
        # Closing a socket resets the connections that the system has accepted and Python has not; a copy keeps them.
        listeners = [listener.dup() for server in self.servers for listener in server.sockets]
        for server in self.servers:
            server.close()
        for listener in listeners:
            await self._accept_waiting(listener)
        await super().shutdown(sockets)

    async def _accept_waiting(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connections = []
        with listener, contextlib.suppress(OSError):
            listener.setblocking(False)
            while True:
                connections.append(listener.accept()[0])
        for connection in connections:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        create: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = create(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def serve(
    folders: Sequence[str | Path],
    options: ServerOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    engine: str = "auto",
) -> bool:
    """Serve saved classifiers until SIGTERM or SIGINT; requests in progress are finished then.

    Args:
        folders: of classifiers that `Trainer.save` wrote; the name of a folder is that of its model.
        options: `ServerOptions`. Defaults to None, all defaults.
        host: str. The address to listen on. Defaults to "127.0.0.1", this machine only.
        port: int in [0, 65535]; 0 for any free one, which is logged. Defaults to 8000.
        engine: as in `transferkit.load`. Defaults to "auto".

    Returns:
        Whether all threads ended within the time limit. Python must not end normally while one runs a model.

    Raises:
        ArtifactError: when a folder is no complete classifier.
        ValueError: when two folders have the same name.
    """
    options = options or ServerOptions()
    app = create_app(names_of(folders), options, load=functools.partial(load_predictor, engine=engine))
    server_of(app, host, port).run()
    return bool(app.state.service.closed)


def server_of(app: FastAPI, host: str, port: int) -> Server:
    """Return the server of an application that `create_app` returned."""
    options: ServerOptions = app.state.service.options
    drain: Drain = app.state.service.drain
    protocol: Any = functools.partial(HttpProtocol, drain=drain, timeout_seconds=options.timeout_seconds)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # The address in a header of a client is not to be trusted.
        proxy_headers=False,
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        timeout_graceful_shutdown=max(1, round(options.timeout_seconds)),
    )
    return Server(config, drain)


def names_of(folders: Sequence[str | Path]) -> dict[str, Path]:
    """Return the folders by their names.

    Raises:
        ValueError: when two have the same name.
    """
    found: dict[str, Path] = {}
    for folder in map(Path, folders):
        name = folder.absolute().name
        if name in found:
            raise ValueError(
                f"The folders must have different names. Received: {str(found[name])!r} and {str(folder)!r}. "
                "Rename one."
            )
        found[name] = folder
    return found


def configure_logging() -> None:
    """Write the access log to standard output as JSON lines, and all other messages to standard error."""
    access = logging.StreamHandler(sys.stdout)
    access.setFormatter(logging.Formatter("%(message)s"))
    messages = logging.StreamHandler(sys.stderr)
    messages.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for logger, handler in ((_ACCESS, access), (logging.getLogger("transferkit"), messages)):
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.addHandler(messages)
    uvicorn_log.setLevel(logging.WARNING)
    # It warns of every malformed body, which the access log has.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
