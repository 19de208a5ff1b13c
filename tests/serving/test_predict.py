"""/v1: all forms of uploads, their order, one result per image, and errors as JSON."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving.conftest import Running, Serve
from tests.serving.fakes import SIZE, FakePredictor, png

BASE64 = base64.b64encode(png(204)).decode()


def as_bytes(running: Running, image: bytes, path: str = "/v1/predict", **headers: str):
    return running.client.post(path, content=image, headers={"content-type": "application/octet-stream", **headers})


@pytest.mark.parametrize(
    "request_of",
    [
        {"files": {"image": ("photo.jpg", png(204))}},
        {"content": png(204), "headers": {"content-type": "application/octet-stream"}},
        {"content": png(204), "headers": {"content-type": "image/png"}},
        {"json": {"image": BASE64}},
        {"json": {"image": f"data:image/png;base64,{BASE64}"}},
    ],
)
def test_one_image_in_any_form(running: Running, request_of: dict) -> None:
    response = running.client.post("/v1/predict", **request_of)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["model"] == "gray" and body["label"] == "bright"
    assert body["probability"] == pytest.approx(0.8) and body["probabilities"]["dark"] == pytest.approx(0.2)
    assert set(body) == {"model", "model_version", "label", "probability", "probabilities"}


@pytest.mark.parametrize("as_json", [True, False])
def test_several_images_have_one_result_each_in_order(running: Running, as_json: bool) -> None:
    images = [png(0), b"no image", png(255), png(51)]
    if as_json:
        request_of = {"json": {"images": [base64.b64encode(image).decode() for image in images]}}
    else:
        request_of = {"files": [("image", (f"{index}.png", image)) for index, image in enumerate(images)]}
    body = running.client.post("/v1/predict", **request_of).json()
    results = body["predictions"]
    assert [one.get("label") for one in results] == ["dark", None, "bright", "dark"]
    assert results[1]["error"]["code"] == "unreadable_image"
    assert results[3]["probabilities"]["bright"] == pytest.approx(0.2)


def test_several_images_of_which_none_can_be_read(running: Running) -> None:
    response = running.client.post("/v1/predict", files=[("a", b"x"), ("b", b"y")])
    assert response.status_code == 422 and len(response.json()["predictions"]) == 2


def test_unreadable_image_is_422_with_reason(running: Running) -> None:
    response = as_bytes(running, png(9)[:40])
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["code"] == "unreadable_image" and "truncated" in error["message"]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("text/plain", b"x", 415, "unsupported_media_type"),
        ("", b"x", 415, "unsupported_media_type"),
        ("application/json", b"{", 400, "invalid_request"),
        ("application/json", b"[" * 100_000, 400, "invalid_request"),
        ("application/json", b"\xff\xfe", 400, "invalid_request"),
        ("application/json", b"[1]", 400, "invalid_request"),
        ("application/json", b'{"image": 1}', 400, "invalid_request"),
        ("application/json", b'{"image": "", "images": []}', 400, "invalid_request"),
        ("application/json", b'{"images": []}', 400, "invalid_request"),
        ("application/json", b'{"image": "photo.jpg"}', 400, "invalid_request"),
        ("application/json", b'{"image": ""}', 422, "unreadable_image"),
        ("application/octet-stream", b"", 400, "invalid_request"),
        ("multipart/form-data", b"x", 400, "invalid_request"),
        ("multipart/form-data; boundary=b", b"", 400, "invalid_request"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 400, "invalid_request"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nabc", 400, "invalid_request"),
        ("multipart/form-data; boundary=b", b"hello", 400, "invalid_request"),
        ("multipart/form-data; boundary=" + 300 * "b", b"hello", 400, "invalid_request"),
        ("multipart/form-data; boundary=b", b"--b\r\nA: " + 9000 * b"x", 400, "invalid_request"),
    ],
)
def test_wrong_forms(running: Running, content_type: str, body: bytes, status: int, code: str) -> None:
    response = running.client.post("/v1/predict", content=body, headers={"content-type": content_type})
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code and "Received: " in error["message"]


def test_path_in_request_is_not_opened(running: Running, predictor: FakePredictor, tmp_path: Path) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(png(255))
    paths = [str(file), f"file://{file}", "/etc/passwd", "../secret.png", "http://127.0.0.1/x.png"]
    for path in paths:
        response = running.client.post("/v1/predict", json={"image": path})
        assert response.status_code in (400, 422), path
        assert as_bytes(running, path.encode()).status_code == 422
        name = json.dumps(path).encode()
        part = b'--b\r\nContent-Disposition: form-data; name="image"; filename=' + name + b"\r\n\r\nx\r\n--b--\r\n"
        headers = {"content-type": "multipart/form-data; boundary=b"}
        assert running.client.post("/v1/predict", content=part, headers=headers).status_code == 422
    # "etcpasswd" is base64 too, so its bytes may arrive, but never a text.
    assert all(isinstance(source, bytes) for source in predictor.sources)


def test_embed(running: Running) -> None:
    body = as_bytes(running, png(51), "/v1/embed").json()
    assert body["embedding"] == pytest.approx([0.2, 1.0])
    files = [("image", png(51)), ("image", b"x"), ("image", png(255))]
    results = running.client.post("/v1/embed", files=files).json()["embeddings"]
    assert results[2]["embedding"] == pytest.approx([1.0, 1.0]) and results[1]["error"]["code"] == "unreadable_image"


def test_explain_as_json_and_as_png(running: Running) -> None:
    body = as_bytes(running, png(204), "/v1/explain").json()
    assert (body["label"], body["method"]) == ("bright", "grad_cam")
    with Image.open(io.BytesIO(base64.b64decode(body["heat_map_png"]))) as image:
        assert image.format == "PNG" and image.size == SIZE[::-1]
    response = as_bytes(running, png(204), "/v1/explain?class_name=dark", accept="image/png")
    assert response.headers["content-type"] == "image/png" and response.content.startswith(b"\x89PNG")
    assert as_bytes(running, png(204), "/v1/explain?class_name=dark").json()["label"] == "dark"
    response = as_bytes(running, png(204), "/v1/explain?class_name=drak")
    assert response.status_code == 400 and "Did you mean 'dark'" in response.json()["error"]["message"]
    assert as_bytes(running, b"x", "/v1/explain", accept="image/png").status_code == 422
    files = [("image", png(51)), ("image", b"x")]
    results = running.client.post("/v1/explain", files=files).json()["explanations"]
    assert results[0]["label"] == "dark" and "error" in results[1]
    response = running.client.post("/v1/explain", files=files, headers={"accept": "image/png"})
    assert response.status_code == 400


def test_explain_without_support_is_501(run: Serve, predictor: FakePredictor) -> None:
    predictor.explains = False
    response = as_bytes(run(predictor), png(1), "/v1/explain")
    assert response.status_code == 501 and "without a feature map" in response.json()["error"]["message"]


def test_several_models_need_a_name(run: Serve) -> None:
    running = run({"gray": FakePredictor(), "letters": FakePredictor(("a", "b"))})
    response = as_bytes(running, png(1))
    assert response.status_code == 400 and "'gray', 'letters'" in response.json()["error"]["message"]
    assert as_bytes(running, png(1), "/v1/predict?model=letters").json()["label"] == "a"
    response = as_bytes(running, png(1), "/v1/predict?model=leters")
    assert response.status_code == 404 and "Did you mean 'letters'" in response.json()["error"]["message"]
    listed = running.client.get("/v1/models").json()["models"]
    assert [one["name"] for one in listed] == ["gray", "letters"] and listed[1]["class_names"] == ["a", "b"]


def test_neighbors_are_similar_training_images(run: Serve, predictor: FakePredictor, tmp_path: Path) -> None:
    for name, level in (("dark", 3), ("dark", 9), ("bright", 250)):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"{level}.png").write_bytes(png(level))
    (tmp_path / "dark" / "broken.png").write_bytes(png(9)[:50])
    running = run(predictor, training_images=tmp_path)
    for _ in range(200):
        response = as_bytes(running, png(255), "/v1/neighbors?count=2")
        if response.status_code != 503:
            break
    neighbors = response.json()["neighbors"]
    assert [one["label"] for one in neighbors] == ["bright", "dark"]
    assert neighbors[0]["similarity"] == pytest.approx(1, abs=1e-3)
    with Image.open(io.BytesIO(base64.b64decode(neighbors[0]["thumbnail"]))) as image:
        assert np.asarray(image).mean() > 150
    assert as_bytes(running, png(255), "/v1/neighbors?count=0").status_code == 400


def test_neighbors_without_training_images_is_501(running: Running) -> None:
    assert as_bytes(running, png(255), "/v1/neighbors").status_code == 501


def test_unknown_address_and_method(running: Running) -> None:
    assert running.client.get("/nothing").json()["error"]["code"] == "not_found"
    response = running.client.get("/v1/predict")
    assert response.status_code == 405 and response.json()["error"]["code"] == "method_not_allowed"


def test_failing_model_is_500_and_fails_no_other_image(running: Running) -> None:
    def infer(level: int):
        data = [level] * (SIZE[0] * SIZE[1] * 3)
        tensor = {"name": "image", "shape": [1, *SIZE, 3], "datatype": "UINT8", "data": data}
        return running.client.post("/v2/models/gray/infer", json={"inputs": [tensor]})

    assert infer(77).status_code == 500 and "the model failed" not in infer(77).text
    assert infer(51).json()["outputs"][0]["data"] == pytest.approx([0.8, 0.2])
