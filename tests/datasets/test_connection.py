"""Connections to servers that are slow or redirect."""

from __future__ import annotations

import contextlib
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.datasets.conftest import respond
from transferkit.datasets.address import Address
from transferkit.datasets.connection import _SafeRedirects, open_url


def read(url: str, timeout: float = 5.0) -> bytes:
    with open_url(Address.parse(url), {}, timeout) as response:
        return response.read()


def slowly(handler: Any, data: bytes) -> None:
    # The client closes the connection.
    with contextlib.suppress(OSError):
        for byte in data:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.05)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_open_url_redirect_keeps_login_on_same_host(serve: Callable[..., str], host: str) -> None:
    seen = []

    def answer(handler: Any) -> None:
        seen.append(handler.headers.get("Authorization"))
        port = handler.server.server_port
        if handler.path == "/start":
            respond(handler, status=302, Location=f"http://{host}:{port}/end", Content_Length=0)
        else:
            respond(handler, b"file", Content_Length=4)

    url = serve(answer).replace("//", "//anna:secret@")
    assert read(f"{url}/start") == b"file"
    login = Address.parse(url).authorization
    assert seen == [login, login if host == "127.0.0.1" else None]


def test_open_url_redirect_to_file_raises(serve: Callable[..., str]) -> None:
    url = serve(lambda handler: respond(handler, status=302, Location="file:///etc/passwd", Content_Length=0))
    with pytest.raises(urllib.error.HTTPError):
        read(url)


def test_redirect_from_https_to_http_raises() -> None:
    request = urllib.request.Request("https://example.org/a.zip")
    with pytest.raises(urllib.error.HTTPError, match="redirects to an insecure address"):
        _SafeRedirects().redirect_request(request, None, 302, "", {}, "http://example.org/a.zip")


def test_open_url_slow_body_raises(serve: Callable[..., str]) -> None:
    def answer(handler: Any) -> None:
        respond(handler, Content_Length=1000)
        slowly(handler, bytes(1000))

    # Fewer than 1,000: it does not wait for the rest of the body.
    with pytest.raises(TimeoutError, match="only [0-9]{1,3} bytes in"):
        read(serve(answer), timeout=0.4)


def test_open_url_slow_header_raises(serve: Callable[..., str]) -> None:
    url = serve(lambda handler: slowly(handler, b"HTTP/1.0 200 OK\r\nX-Long: " + b"x" * 1000))
    with pytest.raises((TimeoutError, urllib.error.URLError), match="only [0-9]+ bytes in|timed out"):
        read(url, timeout=0.4)


def test_open_url_silent_server_raises(serve: Callable[..., str]) -> None:
    with pytest.raises((TimeoutError, urllib.error.URLError), match="timed out"):
        read(serve(lambda handler: time.sleep(2)), timeout=0.3)


def test_open_url_steady_body_may_take_longer(serve: Callable[..., str]) -> None:
    def answer(handler: Any) -> None:
        respond(handler, Content_Length=40_000)
        for _ in range(10):
            handler.wfile.write(bytes(4000))
            time.sleep(0.1)

    assert len(read(serve(answer), timeout=0.5)) == 40_000
