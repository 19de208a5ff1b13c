"""Fetching a file whole and right, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from transferkit._utils.checks import check_int, check_number
from transferkit._utils.files import atomic_write, cache_home, lock, sha256_of
from transferkit.errors import DownloadError

_CHUNK = 1 << 18
_SCHEMES = ("https", "http", "file")


def download(
    url: str,
    *,
    sha256: str | None = None,
    size: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    name: str | None = None,
    progress: bool = True,
    retries: int = 3,
    timeout: float = 30.0,
) -> Path:
    """Download a file once; return its path, at once where it is there already and right.

    The file is written beside its place, goes on where an interrupted download ended, is checked, and takes its place
    only when it is whole. A lock keeps other processes off. Where no checksum is known, the one of the first download
    is remembered, and a file that changed since is fetched again. The environment variables http_proxy, https_proxy,
    no_proxy, SSL_CERT_FILE and REQUESTS_CA_BUNDLE are honoured.

    Args:
        url: https, http or file address.
        sha256: of the contents, in hexadecimal, if known.
        size: of the contents in bytes, if known.
        folder: where to; by default "downloads" in the library's home.
        name: of the file; by default the address's last part.
        progress: whether progress is shown on standard error.
        retries: further attempts after a failure of the network, of at least 0.
        timeout: seconds to wait for an answer, above 0.

    Returns:
        The path of the whole, checked file.

    Raises:
        DownloadError: when it cannot be had; nothing of a wrong file is kept.

    Example:

    >>> download("https://example.org/photos.zip", sha256="9f86d08...")  # doctest: +SKIP
    """
    check_int("retries", retries, minimum=0)
    check_number("timeout", timeout, above=0)
    target = Path(folder or cache_home() / "downloads") / (name or _file_name(url))
    wanted = _Wanted(url, sha256.lower() if sha256 else None, size)
    with lock(target.with_name(f".{target.name}.lock")):
        if target.is_file() and wanted.is_met_by(target, remembered=_remembered(target)):
            return target
        for attempt in range(retries + 1):
            try:
                return _fetch(wanted, target, progress=progress, timeout=timeout)
            except _RetryableError as failure:
                if attempt == retries:
                    raise _failed(url, failure.reason) from failure.__cause__
                time.sleep(min(2.0**attempt * 0.5, 8.0))
    raise AssertionError("the loop above returns or raises")


class _RetryableError(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Wanted:
    """What the file must be."""

    def __init__(self, url: str, sha256: str | None, size: int | None) -> None:
        self.url, self.sha256, self.size = url, sha256, size

    def is_met_by(self, path: Path, *, remembered: str | None) -> bool:
        if self.size is not None and path.stat().st_size != self.size:
            return False
        known = self.sha256 or remembered
        # Without any checksum nobody can tell a whole file from the remains of another program's.
        return known is not None and sha256_of(path) == known

    def problem(self, path: Path, announced: int | None) -> str | None:
        """Return what is wrong with a file just fetched, or None."""
        length = path.stat().st_size
        expected = self.size if self.size is not None else announced
        if expected is not None and length != expected:
            return f"{length:,} bytes came instead of {expected:,}"
        if self.sha256 is not None and sha256_of(path) != self.sha256:
            return f"its SHA-256 is {sha256_of(path)} instead of {self.sha256}"
        return None


def _fetch(wanted: _Wanted, target: Path, *, progress: bool, timeout: float) -> Path:
    partial = target.with_name(f".{target.name}.partial")
    tag = target.with_name(f".{target.name}.etag")
    target.parent.mkdir(parents=True, exist_ok=True)
    request = urllib.request.Request(wanted.url, headers=_resume_headers(partial, tag))
    try:
        with _opener().open(request, timeout=timeout) as answer:
            resumed = getattr(answer, "status", 200) == 206
            announced = _announced(answer, partial.stat().st_size if resumed else 0)
            if not resumed:
                partial.unlink(missing_ok=True)
                tag.write_text(answer.headers.get("ETag") or "")
            with open(partial, "ab" if resumed else "wb") as file:
                _copy(answer, file, announced, target.name, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            # What lies there is longer than the file: it belongs to another version.
            partial.unlink(missing_ok=True)
            raise _RetryableError("the server has not the rest of the file") from error
        if error.code < 500 and error.code not in (408, 425, 429):
            raise _failed(wanted.url, f"the server says {error.code} {error.reason}") from error
        raise _RetryableError(f"the server says {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise _RetryableError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    return _put_in_place(wanted, target, partial, tag, announced)


def _put_in_place(wanted: _Wanted, target: Path, partial: Path, tag: Path, announced: int | None) -> Path:
    problem = wanted.problem(partial, announced)
    if problem is not None:
        short = announced is not None and partial.stat().st_size < announced
        if not short:
            # Cut short, it can be completed; wrong, it is of no use to anybody.
            partial.unlink(missing_ok=True)
            tag.unlink(missing_ok=True)
        raise _RetryableError(problem)
    digest = sha256_of(partial)
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, target)
    tag.unlink(missing_ok=True)
    with atomic_write(_memory(target)) as path:
        path.write_text(json.dumps({"sha256": digest, "url": wanted.url}))
    return target


def _resume_headers(partial: Path, tag: Path) -> dict[str, str]:
    headers = {"User-Agent": "transferkit"}
    known = tag.read_text().strip() if tag.is_file() else ""
    # Only a strong tag says that the bytes are the same; without one a changed file would be glued to the old one.
    if partial.is_file() and partial.stat().st_size and known and not known.startswith("W/"):
        headers["Range"] = f"bytes={partial.stat().st_size}-"
        headers["If-Range"] = known
    return headers


def _announced(answer: Any, already: int) -> int | None:
    length = answer.headers.get("Content-Length")
    return already + int(length) if length is not None and length.isdigit() else None


def _copy(answer: Any, file: BinaryIO, total: int | None, name: str, progress: bool) -> None:
    done, started, shown = file.tell(), time.monotonic(), 0.0
    while chunk := answer.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        now = time.monotonic()
        if progress and now - started > 0.5 and now - shown > 0.2:
            shown = now
            of = f" of {total / 1e6:.1f}" if total else ""
            print(f"\rDownloading {name}: {done / 1e6:.1f}{of} MB ", end="", file=sys.stderr, flush=True)
    if shown:
        print(f"\rDownloading {name}: {done / 1e6:.1f} MB, done       ", file=sys.stderr)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        before, after = urllib.parse.urlsplit(req.full_url).scheme, urllib.parse.urlsplit(newurl).scheme
        if after not in ("http", "https") or (before == "https" and after != "https"):
            raise urllib.error.HTTPError(newurl, code, "it redirects to an address that is not secure", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    certificates = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    context = ssl.create_default_context(cafile=certificates or None)
    return urllib.request.build_opener(_SafeRedirects(), urllib.request.HTTPSHandler(context=context))


def _file_name(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise DownloadError(f"`url` must begin with {', '.join(_SCHEMES)}. Received: {url!r}. Check the address.")
    name = urllib.parse.unquote(parts.path.rsplit("/", 1)[-1])
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name).lstrip(".")
    return safe or hashlib.sha256(url.encode()).hexdigest()[:16]


def _memory(target: Path) -> Path:
    return target.with_name(f".{target.name}.sha256.json")


def _remembered(target: Path) -> str | None:
    try:
        return json.loads(_memory(target).read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _failed(url: str, reason: str) -> DownloadError:
    return DownloadError(
        f"{url} must be reachable and whole. Received: {reason}. Check the network and the address, or fetch the file "
        "elsewhere."
    )
