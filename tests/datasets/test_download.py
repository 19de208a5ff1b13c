"""Downloads from a local server that fails in many ways."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.datasets.conftest import respond
from tests.waiting import wait_until
from transferkit._utils.progress import Progress
from transferkit.datasets import download

BODY = bytes(range(256)) * 4096
Serve = Callable[[Callable[[Any], None]], str]
SHA256 = hashlib.sha256(BODY).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))
        getattr(self, "serve_" + self.path.strip("/").split(".")[0])()

    def answer(self, body: bytes, *, length: int | None = None, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def serve_good(self) -> None:
        self.answer(BODY, length=len(BODY))

    def serve_slow(self) -> None:
        self.answer(b"", length=len(BODY), ETag='"one"')
        for start in range(0, len(BODY), 1 << 16):
            self.wfile.write(BODY[start : start + (1 << 16)])
            time.sleep(0.05)

    def serve_nolength(self) -> None:
        self.answer(BODY)

    def serve_short(self) -> None:
        self.answer(BODY[: len(BODY) // 2], length=len(BODY))

    def serve_resumable(self) -> None:
        """Send half of the file, then the rest on request."""
        requested = self.headers.get("Range")
        if requested is None:
            self.answer(BODY[:500_000], length=len(BODY), ETag='"one"')
        else:
            start = int(requested.removeprefix("bytes=").removesuffix("-"))
            self.answer(BODY[start:], length=len(BODY) - start, status=206, ETag='"one"')

    def serve_changed(self) -> None:
        """Send a part of the file, then another version."""
        if len(self.server.requests) == 1:
            self.answer(b"old" * 1000, length=len(BODY), ETag='"one"')
        else:
            self.answer(BODY, length=len(BODY), ETag='"two"')

    def serve_missing(self) -> None:
        self.answer(b"", length=0, status=404)

    def serve_flaky(self) -> None:
        self.answer(BODY, length=len(BODY)) if len(self.server.requests) > 1 else self.answer(b"", length=0, status=503)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.05)))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.requests = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_download_only_once(server: Any, tmp_path: Path) -> None:
    for _ in range(2):
        path = download(f"{server.url}/good.zip", sha256=SHA256, folder=tmp_path, progress=False)
        assert path == tmp_path / "good.zip" and path.read_bytes() == BODY
    assert len(server.requests) == 1


def test_download_stores_first_checksum(server: Any, tmp_path: Path) -> None:
    path = download(f"{server.url}/good.zip", folder=tmp_path, progress=False)
    download(f"{server.url}/good.zip", folder=tmp_path, progress=False)
    assert len(server.requests) == 1
    path.write_bytes(BODY[:-1])
    assert download(f"{server.url}/good.zip", folder=tmp_path, progress=False).read_bytes() == BODY
    assert len(server.requests) == 2


def test_download_replaces_unverified_file(server: Any, tmp_path: Path) -> None:
    (tmp_path / "good.zip").write_bytes(BODY[:1000])
    assert download(f"{server.url}/good.zip", folder=tmp_path, progress=False).read_bytes() == BODY


def test_download_wrong_checksum_raises(server: Any, tmp_path: Path) -> None:
    with pytest.raises(tk.DownloadError, match=f"the SHA-256 {SHA256} instead of 0000"):
        download(f"{server.url}/good.zip", sha256="0" * 64, folder=tmp_path, progress=False, retries=1)
    assert visible(tmp_path) == []
    assert not any(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_download_keeps_valid_file_on_failure(server: Any, tmp_path: Path) -> None:
    path = download(f"{server.url}/good.zip", sha256=SHA256, folder=tmp_path, progress=False)
    with pytest.raises(tk.DownloadError):
        download(f"{server.url}/good.zip", sha256="0" * 64, folder=tmp_path, progress=False, retries=0)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("name", ["short", "missing"])
def test_download_incomplete_or_missing_raises(server: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(tk.DownloadError, match="Download failed: .* must be reachable and its contents valid"):
        download(f"{server.url}/{name}.zip", folder=tmp_path, progress=False, retries=1)
    assert visible(tmp_path) == []


def test_download_wrong_size_raises(server: Any, tmp_path: Path) -> None:
    with pytest.raises(tk.DownloadError, match="more than the 5 bytes expected"):
        download(f"{server.url}/nolength.zip", size=5, folder=tmp_path, progress=False, retries=0)
    assert download(f"{server.url}/nolength.zip", size=len(BODY), folder=tmp_path, progress=False).is_file()


def test_download_resumes(server: Any, tmp_path: Path) -> None:
    path = download(f"{server.url}/resumable.zip", sha256=SHA256, folder=tmp_path, progress=False)
    assert path.read_bytes() == BODY
    assert [requested for _, requested in server.requests] == [None, "bytes=500000-"]


def test_download_restarts_when_file_changed(server: Any, tmp_path: Path) -> None:
    assert download(f"{server.url}/changed.zip", sha256=SHA256, folder=tmp_path, progress=False).read_bytes() == BODY


def test_download_retries_after_server_error(server: Any, tmp_path: Path) -> None:
    assert download(f"{server.url}/flaky.zip", folder=tmp_path, progress=False).read_bytes() == BODY


def _fetch(url: str, folder: str) -> None:
    download(url, sha256=SHA256, folder=folder, progress=False)


def test_download_from_two_processes_with_one_killed(server: Any, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    first, second = (context.Process(target=_fetch, args=(f"{server.url}/slow.zip", str(tmp_path))) for _ in range(2))
    first.start()
    wait_until(lambda: server.requests)
    second.start()
    os.kill(first.pid, signal.SIGKILL)
    while second.is_alive():
        # The file is missing or complete at any time.
        assert not (tmp_path / "slow.zip").exists() or (tmp_path / "slow.zip").read_bytes() == BODY
        time.sleep(0.02)
    first.join()
    second.join()
    assert second.exitcode == 0
    assert (tmp_path / "slow.zip").read_bytes() == BODY


def test_download_shows_progress_in_megabytes(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    download(f"{server.url}/good.zip", folder=tmp_path / "silent")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("transferkit._utils.progress._is_interactive", lambda: True)
    module = sys.modules["transferkit.datasets.download"]
    monkeypatch.setattr(module, "Progress", lambda *args, **options: Progress(*args, **{**options, "delay": -1}))
    download(f"{server.url}/good.zip", folder=tmp_path)
    assert "] 1.0 of 1.0 MB  " in capsys.readouterr().err
    download(f"{server.url}/nolength.zip", folder=tmp_path)
    assert "\rDownloading nolength.zip: 1.0 MB  " in capsys.readouterr().err


PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def test_download_of_login_page_raises(serve: Serve, tmp_path: Path) -> None:
    url = serve(lambda handler: respond(handler, PAGE, Content_Length=len(PAGE)))
    with pytest.raises(tk.DownloadError, match=r"a web page \(HTML\), such as a login page"):
        download(f"{url}/photos.zip", folder=tmp_path, progress=False)
    assert visible(tmp_path) == []
    assert download(f"{url}/page.html", folder=tmp_path, progress=False).read_bytes() == PAGE


def test_download_without_end_stops_at_size(serve: Serve, tmp_path: Path) -> None:
    def answer(handler: Any) -> None:
        respond(handler)
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(bytes(1 << 16))

    with pytest.raises(tk.DownloadError, match="more than the 1,000 bytes expected"):
        download(f"{serve(answer)}/a.zip", size=1000, folder=tmp_path, progress=False)
    assert all(path.stat().st_size == 0 for path in tmp_path.iterdir())


@pytest.mark.parametrize(("name", "expected"), [("a.bin", BODY), ("a.tar.gz", gzip.compress(BODY, mtime=0))])
def test_download_of_compressed_response(serve: Serve, tmp_path: Path, name: str, expected: bytes) -> None:
    body = gzip.compress(BODY, mtime=0)
    url = serve(lambda handler: respond(handler, body, Content_Encoding="gzip", Content_Length=len(body)))
    assert download(f"{url}/{name}", folder=tmp_path, progress=False).read_bytes() == expected


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate"])
def test_download_in_other_encoding_raises(serve: Serve, tmp_path: Path, encoding: str) -> None:
    url = serve(lambda handler: respond(handler, BODY, Content_Encoding=encoding, Content_Length=len(BODY)))
    with pytest.raises(tk.DownloadError, match=f"a file in the encoding '{encoding}', which was not requested"):
        download(f"{url}/a.bin", folder=tmp_path, progress=False)
    assert visible(tmp_path) == []


def test_download_of_truncated_compressed_response_raises(serve: Serve, tmp_path: Path, no_waiting: None) -> None:
    body = gzip.compress(BODY, mtime=0)[:-100]
    url = serve(lambda handler: respond(handler, body, Content_Encoding="gzip", Content_Length=len(body)))
    with pytest.raises(tk.DownloadError, match="end-of-stream"):
        download(f"{url}/a.bin", folder=tmp_path, progress=False, retries=1)
    assert visible(tmp_path) == []


def test_download_of_empty_file_raises(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(tk.DownloadError, match="an empty file"):
        download(f"{serve(lambda handler: respond(handler, Content_Length=0))}/a.zip", folder=tmp_path, retries=0)


def resuming(*, etag: str = '"one"', rest: bytes = BODY[500_000:], content_range: str | None = None) -> Any:
    """Return an answer that sends a part of the file, then what it is given as the rest."""

    def answer(handler: Any) -> None:
        requested = handler.headers.get("Range")
        handler.server.__dict__.setdefault("ranges", []).append(requested)
        if len(handler.server.ranges) == 1:
            respond(handler, BODY[:500_000], Content_Length=len(BODY), ETag='"one"')
        elif requested is not None:
            options = {} if content_range is None else {"Content_Range": content_range}
            respond(handler, rest, 206, Content_Length=len(rest), ETag=etag, **options)
        else:
            respond(handler, BODY, Content_Length=len(BODY), ETag=etag)

    return answer


@pytest.mark.parametrize(
    "options",
    [
        {"content_range": f"bytes 500000-{len(BODY) - 1}/{len(BODY)}"},
        # Other versions or parts of the file, which are not joined with the first one.
        {"etag": '"two"', "rest": bytes(len(BODY) - 500_000)},
        {"content_range": f"bytes 0-548575/{len(BODY)}", "rest": BODY[:548_576]},
    ],
)
def test_download_resumed_is_complete(serve: Serve, tmp_path: Path, no_waiting: None, options: Any) -> None:
    url = serve(resuming(**options))
    assert download(f"{url}/a.zip", folder=tmp_path, progress=False).read_bytes() == BODY


def test_download_range_is_ignored_by_server(serve: Serve, tmp_path: Path, no_waiting: None) -> None:
    seen = []

    def answer(handler: Any) -> None:
        seen.append(handler.headers.get("Range"))
        respond(handler, BODY[: None if len(seen) > 1 else 5000], Content_Length=len(BODY), ETag='"one"')

    assert download(f"{serve(answer)}/a.zip", folder=tmp_path, progress=False).read_bytes() == BODY
    assert seen == [None, "bytes=5000-"]


def test_download_restarts_when_partial_file_changed(serve: Serve, tmp_path: Path) -> None:
    url = serve(resuming())
    with pytest.raises(tk.DownloadError):
        download(f"{url}/a.zip", folder=tmp_path, progress=False, retries=0)
    partial = tmp_path / ".a.zip.partial"
    partial.write_bytes(b"x" + partial.read_bytes()[1:])
    assert download(f"{url}/a.zip", folder=tmp_path, progress=False).read_bytes() == BODY


def test_download_hides_login_and_query(serve: Serve, tmp_path: Path) -> None:
    url = serve(lambda handler: respond(handler, BODY, Content_Length=len(BODY))).replace("//", "//anna:secret@")
    download(f"{url}/a.zip?key=k7k7k7", folder=tmp_path)
    texts = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not any(secret in text for text in texts for secret in (b"anna", b"secret", b"k7k7k7"))
    refused = serve(lambda handler: handler.send_error(403, "bad key k7k7k7 of anna")).replace("//", "//anna:secret@")
    with pytest.raises(tk.DownloadError, match=r"/a.zip\?key=... must be .*403 bad key ... of ...\. Check") as error:
        download(f"{refused}/a.zip?key=k7k7k7", folder=tmp_path)
    assert "secret" not in str(error.value)


def test_download_of_two_urls_with_one_name(serve: Serve, tmp_path: Path) -> None:
    url = serve(lambda handler: respond(handler, handler.path.encode()))
    for folder in (None, tmp_path):
        first, second = (download(f"{url}/{version}/a.zip", folder=folder) for version in "12")
        assert (first.read_bytes(), second.read_bytes()) == (b"/1/a.zip", b"/2/a.zip")
        assert download(f"{url}/1/a.zip", folder=folder) == first
    assert visible(tmp_path) == sorted({first.name, second.name}) and "a.zip" in visible(tmp_path)


def test_download_of_damaged_note_or_file_url(tmp_path: Path) -> None:
    source = tmp_path / "my source.bin"
    source.write_bytes(BODY)
    path = download(source.as_uri(), folder=tmp_path / "to")
    for text in ("[" * 100_000, "[]", "{}", '{"sha256": 5, "url": 7}', "\0"):
        (path.parent / f".{path.name}.sha256.json").write_text(text)
        assert download(source.as_uri(), folder=tmp_path / "to").read_bytes() == BODY


@pytest.mark.parametrize("name", ["..", "", "a/b"])
def test_download_invalid_name_raises(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="`name` must be the name of a file without a folder"):
        download("https://example.org/a.zip", folder=tmp_path, name=name)


@pytest.mark.parametrize(("option", "value"), [("size", -1), ("size", "5"), ("sha256", "abc"), ("timeout", 0)])
def test_download_invalid_argument_raises(tmp_path: Path, option: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"`{option}` must be"):
        download("https://example.org/a.zip", folder=tmp_path, **{option: value})


def test_download_unsupported_scheme_raises(tmp_path: Path) -> None:
    with pytest.raises(tk.DownloadError, match="`url` must begin with https, http, file. Received: 'ftp://"):
        download("ftp://example.org/a.zip", folder=tmp_path)


def test_cats_and_dogs_without_network_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", no_network)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(tk.DownloadError, match="Name or service not known. Check the network"):
        tk.datasets.cats_and_dogs(tmp_path)
