"""An S3 server of this machine, behind a proxy that fails and delays some requests."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.waiting import TIMEOUT


class Faults:
    """How many requests were failed or delayed.

    Args:
        failed, delayed: fractions of the requests.
        seconds: of a delay.
    """

    def __init__(self, failed: float, delayed: float, seconds: float) -> None:
        self.failed, self.delayed, self.seconds = failed, delayed, seconds
        self.requests = self.failures = 0
        self.random = random.Random(0)
        self.lock = threading.Lock()

    def draw(self) -> tuple[bool, float]:
        """Return whether to fail a request, and for how long to delay it."""
        with self.lock:
            self.requests += 1
            fails = self.random.random() < self.failed
            self.failures += fails
            return fails, self.seconds if self.random.random() < self.delayed else 0.0


@contextlib.contextmanager
def s3_server(faults: Faults) -> Iterator[str]:
    """Yield the URL of a server."""
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(port, faults))
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    try:
        _wait_for(port)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_address[1]}"
    finally:
        proxy.shutdown()
        server.kill()
        server.wait()


def _handler(port: int, faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fails, seconds = faults.draw()
            time.sleep(seconds)
            if fails:
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            content = response.read()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int) -> None:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("the S3 server did not start")
