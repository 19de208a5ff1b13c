"""Opens URLs: with certificates of the environment, safe redirects, and an end to stalled connections."""

from __future__ import annotations

import http.client
import io
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from transferkit.datasets.address import Address

# Connections slower than this, in bytes a second, are closed.
_MIN_SPEED = 1000


def open_url(address: Address, headers: dict[str, str], timeout: float) -> Any:
    """Return the response for an address; raise errors of urllib, http.client and ssl.

    A TimeoutError is raised when nothing arrives in `timeout` seconds, or less than 1000 bytes a second.
    """
    request = urllib.request.Request(address.url, headers={"User-Agent": "transferkit", **headers})
    if address.authorization is not None:
        # Not sent to other servers after a redirect.
        request.add_unredirected_header("Authorization", address.authorization)
    certificates = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    context = ssl.create_default_context(cafile=certificates or None)
    opener = urllib.request.build_opener(_SafeRedirects(), _HttpHandler(), _HttpsHandler(context))
    return opener.open(request, timeout=timeout)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        before, after = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme != "https"):
            raise urllib.error.HTTPError(newurl, code, "it redirects to an insecure address", headers, fp)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and before[:2] == after[:2]:
            request.unredirected_hdrs.update(req.unredirected_hdrs)
        return request


class _SteadyReader(io.RawIOBase):
    """The bytes of a socket, as long as they arrive fast enough."""

    def __init__(self, raw: io.RawIOBase, seconds: float) -> None:
        self._raw, self._seconds = raw, seconds
        self._started: float | None = None
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._raw.readinto(buffer)  # type: ignore[attr-defined]
        now = time.monotonic()
        if self._started is None:
            # The server may take its time for the first byte.
            self._started = now
        self._count += count or 0
        if now - self._started > self._seconds:
            if self._count < _MIN_SPEED * self._seconds:
                raise TimeoutError(f"only {self._count:,} bytes in {now - self._started:.0f} seconds")
            self._started, self._count = now, 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _SteadyResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        seconds = sock.gettimeout()
        if seconds:
            self.fp: Any = io.BufferedReader(_SteadyReader(self.fp.detach(), seconds))  # type: ignore[attr-defined]


class _HttpConnection(http.client.HTTPConnection):
    response_class = _SteadyResponse


class _HttpsConnection(http.client.HTTPSConnection):
    response_class = _SteadyResponse


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(_HttpConnection, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._own_context = context

    def https_open(self, req: Any) -> Any:
        return self.do_open(_HttpsConnection, req, context=self._own_context)
