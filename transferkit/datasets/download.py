"""Downloads files completely and verified, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from transferkit._utils.checks import check_int, check_number
from transferkit._utils.files import atomic_write, cache_home, lock, read_json
from transferkit._utils.hashing import sha256_of
from transferkit._utils.progress import Progress
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
    """Download a file, unless a verified copy exists, and return its path.

    An interrupted download is resumed. The file is verified and then renamed, so an incomplete file never has the final
    name; a lock excludes other processes. Without a known checksum, the one of the first download is stored, and a file
    that differs from it is downloaded again. The environment variables http_proxy, https_proxy, no_proxy, SSL_CERT_FILE
    and REQUESTS_CA_BUNDLE are respected.

    Args:
        url: str, an https, http or file URL.
        sha256: str, hexadecimal SHA-256 of the contents. Defaults to None, unknown.
        size: int, number of bytes. Defaults to None, unknown.
        folder: path of the target folder. Defaults to "downloads" in the cache folder.
        name: str, name of the file. Defaults to the last part of the URL.
        progress: bool, whether to show a progress bar on a terminal or in a notebook. Defaults to True.
        retries: int >= 0, further attempts after a network failure. Defaults to 3.
        timeout: float > 0, seconds to wait for a response. Defaults to 30.

    Returns:
        The path of the complete, verified file.

    Raises:
        DownloadError: if the download fails; an invalid file is deleted.
        ValueError: if an argument is out of its range.

    Example:

    >>> tk.datasets.download("https://example.org/photos.zip", sha256="9f86d08...")  # doctest: +SKIP
    """
    check_int("retries", retries, minimum=0)
    check_number("timeout", timeout, above=0)
    target = Path(folder or cache_home() / "downloads") / (name or _file_name(url))
    job = _Download(url, sha256.lower() if sha256 else None, size, target, progress, timeout)
    with lock(job.hidden_file(".lock")):
        if job.is_complete():
            return target
        for attempt in range(retries + 1):
            try:
                job.run()
                break
            except _RetryableError as error:
                if attempt == retries:
                    raise _failed(url, str(error)) from error.__cause__
                time.sleep(min(2.0**attempt * 0.5, 8.0))
    return target


class _RetryableError(Exception):
    """An attempt failed for a reason that may be temporary."""


@dataclasses.dataclass(frozen=True)
class _Download:
    """One file to download, with the files next to it that store the state."""

    url: str
    sha256: str | None
    size: int | None
    target: Path
    progress: bool
    timeout: float

    def hidden_file(self, extension: str) -> Path:
        return self.target.with_name(f".{self.target.name}{extension}")

    def is_complete(self) -> bool:
        """Return whether the target exists and is verified."""
        if not self.target.is_file() or self.size not in (None, self.target.stat().st_size):
            return False
        # Without any checksum, a complete file cannot be distinguished from an incomplete one of another program.
        known = self.sha256 or read_json(self.hidden_file(".sha256.json")).get("sha256")
        return known is not None and sha256_of(self.target) == known

    def run(self) -> None:
        """Download, verify and rename the file."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        partial, tag = self.hidden_file(".partial"), self.hidden_file(".etag")
        request = urllib.request.Request(self.url, headers=_resume_headers(partial, tag))
        try:
            with _opener().open(request, timeout=self.timeout) as response:
                content_length = self._save(response, partial, tag)
        except urllib.error.HTTPError as error:
            reason = f"the response {error.code} {error.reason}"
            if error.code == 416:
                # The partial file is longer than the file on the server, so it belongs to another version.
                partial.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 425, 429):
                raise _failed(self.url, reason) from error
            raise _RetryableError(reason) from error
        except (OSError, ValueError) as error:
            raise _RetryableError(str(getattr(error, "reason", error)) or type(error).__name__) from error
        self._verify_and_rename(partial, tag, content_length)

    def _save(self, response: Any, partial: Path, tag: Path) -> int | None:
        """Write a response to the partial file, and return the size of the complete file if the server reports it."""
        resumed = getattr(response, "status", 200) == 206
        if not resumed:
            partial.unlink(missing_ok=True)
            tag.write_text(response.headers.get("ETag") or "")
        length = response.headers.get("Content-Length")
        with open(partial, "ab") as file:
            total = file.tell() + int(length) if length is not None and length.isdigit() else None
            options: dict[str, Any] = {"enabled": self.progress, "delay": 0.5, "unit": "MB", "scale": 1e6}
            with Progress(f"Downloading {self.target.name}", total, **options) as bar:
                bar.advance(file.tell())
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    bar.advance(len(chunk))
        return total

    def _verify_and_rename(self, partial: Path, tag: Path, content_length: int | None) -> None:
        length, digest = partial.stat().st_size, sha256_of(partial)
        size = content_length if self.size is None else self.size
        if size not in (None, length) or self.sha256 not in (None, digest):
            # An incomplete file is kept, to resume the download.
            if content_length is None or length >= content_length:
                partial.unlink(missing_ok=True)
                tag.unlink(missing_ok=True)
            wrong_size = f"{length:,} bytes instead of {size:,}" if size not in (None, length) else None
            raise _RetryableError(wrong_size or f"the SHA-256 {digest} instead of {self.sha256}")
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, self.target)
        tag.unlink(missing_ok=True)
        with atomic_write(self.hidden_file(".sha256.json")) as path:
            path.write_text(json.dumps({"sha256": digest, "url": self.url}))


def _resume_headers(partial: Path, tag: Path) -> dict[str, str]:
    headers = {"User-Agent": "transferkit"}
    known = tag.read_text().strip() if tag.is_file() else ""
    # Only a strong ETag guarantees equal bytes; without it, parts of two versions could be joined.
    if partial.is_file() and partial.stat().st_size and known and not known.startswith("W/"):
        headers |= {"Range": f"bytes={partial.stat().st_size}-", "If-Range": known}
    return headers


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        before, after = urllib.parse.urlsplit(req.full_url).scheme, urllib.parse.urlsplit(newurl).scheme
        if after not in ("http", "https") or (before == "https" and after != "https"):
            raise urllib.error.HTTPError(newurl, code, "it redirects to an insecure address", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    certificates = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    context = ssl.create_default_context(cafile=certificates or None)
    return urllib.request.build_opener(_SafeRedirects(), urllib.request.HTTPSHandler(context=context))


def _file_name(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise DownloadError(f"`url` must begin with {', '.join(_SCHEMES)}. Received: {url!r}. Check the URL.")
    name = urllib.parse.unquote(parts.path.rsplit("/", 1)[-1])
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name).lstrip(".")
    return safe or hashlib.sha256(url.encode()).hexdigest()[:16]


def _failed(url: str, reason: str) -> DownloadError:
    return DownloadError(
        f"Download failed: {url} must be reachable and its contents valid. Received: {reason}. Check the network and "
        "the URL, or copy the file from another machine."
    )
