"""Pages, headers, the OpenAPI document, metrics and the access log."""

from __future__ import annotations

import json
import logging
import re

import pytest

from tests.serving.conftest import Running, Serve
from tests.serving.fakes import FakePredictor, png
from tests.waiting import wait_until

HOSTILE = "<script>alert(1)</script>"
OCTETS = {"content-type": "application/octet-stream"}
PATHS = ("/", "/docs", "/openapi.json", "/static/page.js", "/static/page.css", "/v1/models", "/nothing")


@pytest.mark.parametrize("path", PATHS)
def test_security_headers(running: Running, path: str) -> None:
    headers = running.client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer" and "server" not in headers
    assert headers.get_list("content-type") and len(headers.get_list("date")) == 1


@pytest.mark.parametrize("path", ["/", "/docs", "/static/page.js", "/static/page.css"])
def test_pages_refer_to_no_other_host_and_have_no_inline_script(running: Running, path: str) -> None:
    text = running.client.get(path).text
    assert "http://" not in text and "https://" not in text and "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.M)
    assert "innerHTML" not in text and not re.search(r"<script>|<style| style=| on\w+=", text)


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/static/x.js", "//etc/passwd"]
)
def test_no_other_file_is_served(running: Running, path: str) -> None:
    assert running.client.get(path).status_code == 404


def test_openapi_document_and_page_have_all_routes(running: Running) -> None:
    document = running.client.get("/openapi.json").json()
    page = running.client.get("/docs").text
    for path in ("/v1/predict", "/v1/embed", "/v1/explain", "/v1/neighbors", "/v1/models", "/v2/models/{name}/infer"):
        assert path in document["paths"] and path in page
    body = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json", "application/octet-stream", "image/*"}
    assert {"413", "422", "429", "504"} <= set(document["paths"]["/v1/predict"]["post"]["responses"])


def test_hostile_class_names_are_data_only(run: Serve) -> None:
    running = run({HOSTILE: FakePredictor(("a", HOSTILE))})
    response = running.client.post("/v1/predict", content=png(255), headers=OCTETS)
    assert response.json()["label"] == HOSTILE and response.headers["content-type"] == "application/json"
    assert HOSTILE not in running.client.get("/").text + running.client.get("/docs").text
    assert running.client.get("/metrics").status_code == 200


def test_metrics(running: Running) -> None:
    running.client.post("/v1/predict", content=png(255), headers=OCTETS)
    running.client.post("/v1/predict", content=b"x", headers=OCTETS)
    running.client.get("/a/path/of/a/scanner")
    # A request is counted after its response.
    wait_until(lambda: 'route="unmatched"' in running.client.get("/metrics").text)
    text = running.client.get("/metrics").text
    for line in (
        'transferkit_requests_total{route="/v1/predict",status="200"} 1.0',
        'transferkit_requests_total{route="/v1/predict",status="422"} 1.0',
        'transferkit_requests_total{route="unmatched",status="404"} 1.0',
        'transferkit_images_total{model="gray",operation="predict"} 2.0',
        'transferkit_unreadable_images_total{model="gray",operation="predict"} 1.0',
        'transferkit_queue_length{model="gray",operation="predict"} 0.0',
        "transferkit_buffered_bytes 0.0",
    ):
        assert line in text, line
    assert "scanner" not in text


def test_apps_share_no_metrics(run: Serve) -> None:
    first, second = run(FakePredictor()), run(FakePredictor())
    first.client.post("/v1/predict", content=png(255), headers=OCTETS)
    assert "/v1/predict" not in second.client.get("/metrics").text


def test_access_log_is_one_json_line_per_request(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "transferkit.access"):
        headers = {**OCTETS, "x-request-id": "abc-1", "authorization": "Bearer secret"}
        response = running.client.post("/v1/predict?model=gray", content=png(255), headers=headers)
        bad = running.client.get("/a%0Ab", headers={"x-request-id": "not valid"})
        # An entry is written after its response.
        wait_until(lambda: sum(record.name == "transferkit.access" for record in caplog.records) == 2)
    first, second = (record.getMessage() for record in caplog.records if record.name == "transferkit.access")
    entry = json.loads(first)
    assert entry["status"] == 200 and entry["path"] == "/v1/predict" and entry["method"] == "POST"
    assert entry["request_id"] == response.headers["x-request-id"] == "abc-1"
    assert entry["model"] == "gray" and entry["images"] == 1 and entry["received_bytes"] == len(png(255))
    assert entry["milliseconds"] > 0 and entry["client"] == "127.0.0.1"
    assert "\n" not in second and json.loads(second)["path"] == "/a\nb"
    assert bad.headers["x-request-id"] == json.loads(second)["request_id"] != "not valid"
    assert "secret" not in caplog.text


def test_errors_of_the_server_are_logged_and_not_shown(
    running: Running, predictor: FakePredictor, caplog: pytest.LogCaptureFixture
) -> None:
    predictor.predict = lambda images: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    with caplog.at_level(logging.ERROR, "transferkit.serving"):
        response = running.client.post("/v1/predict", content=png(255), headers=OCTETS)
    assert response.status_code == 500 and response.json()["error"]["code"] == "internal_error"
    assert "ZeroDivisionError" in caplog.text and "division" not in response.text
