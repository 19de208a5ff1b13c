"""API keys: from the environment or a file, required for every route with data."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.serving.conftest import Serve
from tests.serving.fakes import FakePredictor, png
from transferkit.serving import ServerOptions
from transferkit.serving.api_key import read_api_keys

KEYS = ("first-key", "sécond")


def test_key_is_required(run: Serve, predictor: FakePredictor, caplog: pytest.LogCaptureFixture) -> None:
    running = run(predictor, api_keys=KEYS)
    routes = [("POST", f"/v1/{name}") for name in ("predict", "embed", "explain", "neighbors")]
    routes += [("GET", "/v1/models"), ("GET", "/v2"), ("GET", "/v2/models/gray"), ("GET", "/v2/models/gray/ready")]
    routes += [("POST", "/v2/models/gray/infer"), ("GET", "/metrics")]
    assert {path for path in running.app.openapi()["paths"] if "health" not in path} <= {
        path.replace("gray", "{name}") for _, path in routes
    }
    wrong = [
        {},
        {"authorization": "Bearer first-ke"},
        {"authorization": "Basic first-key"},
        {"x-api-key": "first-key "},
    ]
    wrong[-1] = {"x-api-key": "FIRST-KEY"}
    with caplog.at_level(logging.INFO, "transferkit.access"):
        for method, path in routes:
            for headers in wrong:
                response = running.client.request(method, path, content=png(1), headers=headers)
                assert response.status_code == 401, (path, headers)
                assert response.headers["www-authenticate"] == "Bearer"
        for key in KEYS:
            for name, value in (("authorization", f"Bearer {key}"), ("x-api-key", key)):
                headers = {"content-type": "image/png", name.encode(): value.encode()}
                assert running.client.post("/v1/predict", content=png(1), headers=headers).status_code == 200
    assert predictor.batches == [1, 1, 1, 1]
    assert not any(key in caplog.text for key in KEYS)


def test_health_and_pages_need_no_key(run: Serve, predictor: FakePredictor) -> None:
    running = run(predictor, api_keys=KEYS)
    for path in ("/v2/health/live", "/v2/health/ready", "/", "/docs", "/openapi.json", "/static/page.js"):
        assert running.client.get(path).status_code == 200, path


def test_keys_of_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text("one\n\n  two \none\n", encoding="utf-8")
    assert read_api_keys(file) == ("one", "two")
    monkeypatch.setenv("TRANSFERKIT_API_KEY", "three")
    assert read_api_keys(file) == ("three", "one", "two") and read_api_keys(None) == ("three",)
    monkeypatch.delenv("TRANSFERKIT_API_KEY")
    assert read_api_keys(None) == ()


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe\xff"])
def test_file_without_key_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"must have one key per line\. Received"):
        read_api_keys(file)


def test_keys_are_not_in_the_text_of_options() -> None:
    assert "secret" not in repr(ServerOptions(api_keys=("secret",)))
