"""A server with a fake predictor that listens on a real socket."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.waiting import TIMEOUT, wait_until

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import httpx

from tests.serving.fakes import FakePredictor
from transferkit.serving import ServerOptions, create_app
from transferkit.serving.server import server_of


class Running:
    """A running server with its client."""

    def __init__(self, models: Any, options: dict[str, Any], load: Any = None) -> None:
        self.app = create_app(models, ServerOptions(**{"timeout_seconds": TIMEOUT, **options}), load=load)
        self.service = self.app.state.service
        self.server = server_of(self.app, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=TIMEOUT, trust_env=False)

    def stop(self) -> None:
        self.client.close()
        self.server.handle_exit(15, None)
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive() and self.service.closed


Serve = Callable[..., Running]


@pytest.fixture
def run() -> Iterator[Serve]:
    """Start servers, which end with the test: run(models, option=value)."""
    with contextlib.ExitStack() as stack:

        def start(models: Any, load: Any = None, **options: Any) -> Running:
            running = Running(models if isinstance(models, dict) else {"gray": models}, options, load)
            stack.callback(running.stop)
            return running

        yield start


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor()


@pytest.fixture
def running(run: Serve, predictor: FakePredictor) -> Running:
    return run(predictor)
