"""Downloads files completely and verified, or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import zlib
from pathlib import Path
from typing import Any

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.cache_limit import cache_limit_bytes, evict, hold
from transferkit._utils.checks import check_int, check_number
from transferkit._utils.files import atomic_write, cache_home, lock, read_json, storage_errors
from transferkit._utils.hashing import sha256_of
from transferkit._utils.progress import Progress
from transferkit.datasets.address import Address, url_key
from transferkit.datasets.archive_formats import is_html
from transferkit.datasets.connection import open_url
from transferkit.errors import DownloadError, StorageError

_CHUNK = 1 << 18
_HTML_EXTENSIONS = (".html", ".htm", ".xhtml")
_GZIP_EXTENSIONS = (".gz", ".tgz")
# How often the state of a download is stored, so that it can be resumed.
_STATE_SECONDS = 1.0


@suggests_arguments
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
    that differs from it is downloaded again. Two URLs are two files, even with the same name. User and password of a
    URL are sent as Basic authentication; neither they nor the values of its query are shown or stored. The environment
    variables http_proxy, https_proxy, no_proxy, SSL_CERT_FILE and REQUESTS_CA_BUNDLE are respected.

    Args:
        url: str, an https, http or file URL.
        sha256: str, hexadecimal SHA-256 of the contents. Defaults to None, unknown.
        size: int, number of bytes. Defaults to None, unknown.
        folder: path of the target folder. Defaults to one for each URL in the cache folder.
        name: str, name of the file, which is replaced if it comes from another URL. Defaults to the last part of the
            path of the URL; where the file of another URL has that name, with a prefix.
        progress: bool, whether to show a progress bar on a terminal or in a notebook. Defaults to True.
        retries: int >= 0, further attempts after a network failure. Defaults to 3.
        timeout: float > 0, seconds to wait for a response, and in which at least 1000 bytes a second must arrive.
            Defaults to 30.

    Returns:
        The path of the complete, verified file.

    Raises:
        DownloadError: if the download fails, or a web page (HTML) arrives instead of a file; it is deleted.
        StorageError: if the file cannot be written, as on a full disk.
        ValueError: if an argument is out of its range.

    Example:

    >>> tk.datasets.download("https://example.org/photos.zip", sha256="9f86d08...")  # doctest: +SKIP
    """
    check_int("retries", retries, minimum=0)
    check_number("timeout", timeout, above=0)
    if size is not None:
        check_int("size", size)
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"`sha256` must be 64 hexadecimal digits. Received: {sha256!r}.")
    if name is not None and (Path(name).name != name or name in ("", "..")):
        raise ValueError(f"`name` must be the name of a file without a folder. Received: {name!r}. Give `folder` too.")
    address = Address.parse(url)
    digest = sha256.lower() if sha256 else None
    target = _in_cache(address, digest, name) if folder is None else _in_folder(address, digest, name, Path(folder))
    job = _Download(address, digest, size, target, progress, timeout)
    if not job.is_complete():
        in_use = hold(target.parent) if folder is None else None
        with lock(job.hidden_file(".lock")), in_use or contextlib.nullcontext():
            # Another process may have downloaded it while this one waited.
            if not job.is_complete():
                job.run_repeatedly(retries)
        if folder is None:
            evict(keep={target.parent})
    return target


def _in_cache(address: Address, sha256: str | None, name: str | None) -> Path:
    # A bad limit of the cache is refused before the download.
    cache_limit_bytes()
    return cache_home() / "downloads" / (sha256 or address.key)[:32] / (name or address.file_name)


def _in_folder(address: Address, sha256: str | None, name: str | None, folder: Path) -> Path:
    target = folder / (name or address.file_name)
    job = _Download(address, sha256, None, target)
    is_of_other_url = job.note() and job.note().get("key") != address.key and not job.is_complete()
    return target.with_name(f"{address.key[:8]}-{target.name}") if is_of_other_url and name is None else target


class _RetryableError(Exception):
    """An attempt failed for a reason that may be temporary."""


@dataclasses.dataclass(frozen=True)
class _Download:
    """One file to download, with the files next to it that store the state."""

    address: Address
    sha256: str | None
    size: int | None
    target: Path
    progress: bool = False
    timeout: float = 30.0

    def hidden_file(self, extension: str) -> Path:
        return self.target.with_name(f".{self.target.name}{extension}")

    def note(self) -> dict[str, Any]:
        """Return the key of the URL and the checksum of the complete file, or an empty dict."""
        note = read_json(self.hidden_file(".sha256.json")) if self.target.is_file() else {}
        # Earlier versions stored the URL itself.
        return {"key": url_key(str(note["url"])), **note} if "url" in note else note

    def is_complete(self) -> bool:
        """Return whether the target exists and is verified."""
        with contextlib.suppress(OSError):
            if not self.target.is_file() or self.size not in (None, self.target.stat().st_size):
                return False
            # Without any checksum, a complete file cannot be distinguished from an incomplete one of another program.
            note = self.note()
            known = self.sha256 or (note.get("sha256") if note.get("key") == self.address.key else None)
            return known is not None and sha256_of(self.target) == known
        return False

    def run_repeatedly(self, retries: int) -> None:
        """Download, verify and rename the file, with further attempts after a failure that may be temporary."""
        for attempt in range(retries + 1):
            try:
                return self._run()
            except _RetryableError as error:
                if attempt == retries:
                    raise self._failed(str(error)) from error.__cause__
                time.sleep(min(2.0**attempt * 0.5, 8.0))

    def _run(self) -> None:
        partial = self.hidden_file(".partial")
        try:
            with open_url(self.address, self._resume_headers(partial), self.timeout) as response:
                digest, content_length = self._save(response, partial)
        except (StorageError, DownloadError):
            self._forget()
            raise
        except urllib.error.HTTPError as error:
            reason = f"the response {error.code} {error.reason}"
            if error.code == 416:
                # The partial file is longer than the file on the server, so it belongs to another version.
                self._forget()
            elif error.code < 500 and error.code not in (408, 425, 429):
                raise self._failed(reason) from error
            raise _RetryableError(reason) from error
        except (OSError, EOFError, ValueError, http.client.HTTPException, zlib.error) as error:
            raise _RetryableError(str(getattr(error, "reason", error)) or type(error).__name__) from error
        self._verify_and_rename(partial, digest, content_length)

    def _resume_headers(self, partial: Path) -> dict[str, str]:
        """Return the headers that ask for the rest of a partial file, which is cut to its verified bytes."""
        state = read_json(self.hidden_file(".resume.json"))
        size, etag = state.get("size"), state.get("etag")
        # Only a strong ETag guarantees equal bytes; without it, parts of two versions could be joined.
        if isinstance(etag, str) and etag.strip().isascii() and etag[:2] not in ("", "W/") and isinstance(size, int):
            with contextlib.suppress(OSError):
                os.truncate(partial, min(size, partial.stat().st_size))
                if size > 0 and sha256_of(partial) == state.get("sha256"):
                    return {"Range": f"bytes={size}-", "If-Range": etag.strip()}
        return {}

    def _save(self, response: Any, partial: Path) -> tuple[str, int | None]:
        """Append a response to the partial file; return its SHA-256 and, if known, the size of the file."""
        start = partial.stat().st_size if getattr(response, "status", 200) == 206 else 0
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "x-gzip", ""):
            raise self._failed(f"a file in the encoding {encoding[:50]!r}, which was not requested")
        is_gzip = encoding in ("gzip", "x-gzip") and not self.target.name.endswith(_GZIP_EXTENSIONS)
        if start and (is_gzip or not self._is_requested_part(response, start)):
            self._forget()
            raise _RetryableError("another part of the file than the requested one")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None and length.isdigit() and not is_gzip else None
        if self.size is not None and total not in (None, self.size):
            raise _RetryableError(f"{total:,} bytes instead of {self.size:,}")
        with storage_errors(self.target, partial):
            file = open(partial, "ab" if start else "wb")  # noqa: SIM115 - closed below
        with file:
            # A server may compress all the same, though no encoding was requested.
            body = gzip.GzipFile(fileobj=response) if is_gzip else response
            return self._append(body, file, response.headers.get("ETag") if not is_gzip else None, total), total

    def _is_requested_part(self, response: Any, start: int) -> bool:
        etag = read_json(self.hidden_file(".resume.json")).get("etag")
        content_range = response.headers.get("Content-Range", f"bytes {start}-")
        return content_range.startswith(f"bytes {start}-") and response.headers.get("ETag", etag) == etag

    def _append(self, body: Any, file: Any, etag: str | None, total: int | None) -> str:
        """Append a body to the open partial file; return the SHA-256 of the file."""
        digest = _digest_of(file.name)
        options: dict[str, Any] = {"enabled": self.progress, "delay": 0.5, "unit": "MB", "scale": 1e6}
        with Progress(f"Downloading {self.target.name}", total, **options) as bar:
            bar.advance(file.tell())
            stored = time.monotonic()
            try:
                while chunk := body.read(_CHUNK):
                    if self.size is not None and file.tell() + len(chunk) > self.size:
                        raise self._failed(f"more than the {self.size:,} bytes expected")
                    with storage_errors(self.target, Path(file.name)):
                        file.write(chunk)
                        file.flush()
                    digest.update(chunk)
                    bar.advance(len(chunk))
                    if time.monotonic() > stored + _STATE_SECONDS:
                        self._store_state(etag, file.tell(), digest.hexdigest())
                        stored = time.monotonic()
            finally:
                self._store_state(etag, file.tell(), digest.hexdigest())
        return digest.hexdigest()

    def _store_state(self, etag: str | None, size: int, sha256: str) -> None:
        with contextlib.suppress(OSError):
            state = {"etag": etag or "", "size": size, "sha256": sha256}
            self.hidden_file(".resume.json").write_text(json.dumps(state))

    def _forget(self) -> None:
        """Delete the partial file."""
        for extension in (".partial", ".resume.json"):
            self.hidden_file(extension).unlink(missing_ok=True)

    def _verify_and_rename(self, partial: Path, digest: str, content_length: int | None) -> None:
        length = partial.stat().st_size
        size = content_length if self.size is None else self.size
        if self.sha256 != digest and _is_web_page(partial) and not self.target.name.endswith(_HTML_EXTENSIONS):
            self._forget()
            raise self._failed("a web page (HTML), such as a login page, instead of a file")
        if length == 0 and self.sha256 != digest:
            self._forget()
            raise _RetryableError("an empty file")
        if size not in (None, length) or self.sha256 not in (None, digest):
            # An incomplete file is kept, to resume the download.
            if content_length is None or length >= content_length:
                self._forget()
            wrong_size = f"{length:,} bytes instead of {size:,}" if size not in (None, length) else None
            raise _RetryableError(wrong_size or f"the SHA-256 {digest} instead of {self.sha256}")
        with storage_errors(self.target, partial):
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, self.target)
        self._forget()
        with atomic_write(self.hidden_file(".sha256.json")) as path:
            note = {"sha256": digest, "url": self.address.public, "key": self.address.key}
            path.write_text(json.dumps(note))

    def _failed(self, reason: str) -> DownloadError:
        return DownloadError(
            f"Download failed: {self.address.public} must be reachable and its contents valid. Received: "
            f"{self.address.without_secrets(reason)}. Check the network and the URL, or copy the file from another "
            "machine."
        )


def _digest_of(path: str) -> Any:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest


def _is_web_page(path: Path) -> bool:
    with open(path, "rb") as file:
        return is_html(file.read(512))
