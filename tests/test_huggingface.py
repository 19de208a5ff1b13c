"""`tk.push_to_hub` against a local server that answers as the Hub does."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.exporting.conftest import make_predictor
from transferkit.saving import save_classifier


class Hub(ThreadingHTTPServer):
    """Creates one repository, and takes each file in the body of the commit."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, str | None]] = []
        self.created: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.message = ""
        self.token = "secret"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.command, self.path, self.headers["Authorization"]))
        if self.headers["Authorization"] != f"Bearer {self.server.token}":
            self.answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            self.answer({"url": f"{self.server.url}/user/cats-dogs"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path == "/api/models/user/cats-dogs/preupload/main":
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            self.answer({"files": modes})
        elif self.path.startswith("/api/models/user/cats-dogs/commit/main"):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "header":
                    self.server.message = entry["value"]["summary"]
                else:
                    self.server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self.answer({"commitUrl": f"{self.server.url}/user/cats-dogs/commit/{'0' * 40}", "commitOid": "0" * 40})
        else:
            self.answer({"error": f"unknown {self.path}"}, 404)

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path, self.headers["Authorization"]))
        self.answer({"error": f"unknown {self.path}"}, 404)

    def answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The client reads $HF_ENDPOINT when it is imported.
    original = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **options: original(endpoint=server.url, **options))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    predictor = make_predictor()
    folder = save_classifier(tmp_path_factory.mktemp("saved") / "classifier", predictor)
    tk.export(predictor, folder / "openvino", format="openvino", features=True)
    tk.export(predictor, folder / "model.onnx", features=True)
    (folder / "photos").mkdir()
    (folder / "photos" / "private.jpg").write_bytes(b"photo")
    (folder / ".env").write_text("TOKEN=1")
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_of_the_classifier_are_uploaded(saved: Path, hub: Hub, tmp_path: Path) -> None:
    url = tk.push_to_hub(saved, "user/cats-dogs", private=True, token="secret")
    assert url == f"{hub.url}/user/cats-dogs/commit/{'0' * 40}"
    assert (hub.created["name"], hub.created["organization"]) == ("cats-dogs", "user")
    assert hub.created.get("private") is True or hub.created.get("visibility") == "private"
    assert hub.message == f"Upload a classifier with transferkit {tk.__version__}"
    expected = files_of(saved)
    del expected["photos/private.jpg"], expected[".env"]
    assert hub.files == expected and {"README.md", "model.onnx", "openvino/model.xml"} <= set(expected)
    assert b"pipeline_tag: image-classification" in hub.files["README.md"]
    # What was uploaded is a classifier.
    for name, content in hub.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert tk.load(tmp_path).class_names == tk.load(tmp_path, engine="onnx").class_names == ("ant", "big bee", "cat")


def test_wrong_token_raises_without_showing_it(saved: Path, hub: Hub) -> None:
    with pytest.raises(tk.UploadError, match=r"must accept .* for 'user/cats-dogs'\. Received: .*401") as raised:
        tk.push_to_hub(saved, "user/cats-dogs", token="hf_wrong")
    assert "hf_wrong" not in str(raised.value) and hub.files == {}


def test_wrong_name_of_repository_raises(saved: Path, hub: Hub) -> None:
    with pytest.raises(tk.UploadError, match=r"for 'user/cats/dogs'\. Received: "):
        tk.push_to_hub(saved, "user/cats/dogs", token="secret")
    assert hub.files == {}


@pytest.mark.parametrize("damage", ["missing", "model", "metadata"])
def test_damaged_classifier_is_not_uploaded(damage: str, hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    if damage != "missing":
        save_classifier(folder, make_predictor())
        path = folder / ("model.keras" if damage == "model" else "transferkit.json")
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(tk.ArtifactError, match="must"):
        tk.push_to_hub(folder, "user/cats-dogs", token="secret")
    assert hub.requests == []


def test_missing_package_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(tk.MissingExtraError, match=r"package 'huggingface_hub'.*transferkit\[huggingface\]"):
        tk.push_to_hub(saved, "user/cats-dogs")
