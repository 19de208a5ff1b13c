"""The Open Inference Protocol: health, metadata, and tensors in JSON."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from tests.serving.conftest import Running
from tests.serving.fakes import SIZE, FakePredictor, png

SHAPE = [2, *SIZE, 3]
IMAGES = np.stack([np.full((*SIZE, 3), level) for level in (51, 255)])


def infer(running: Running, tensor: Any, **more: Any) -> Any:
    return running.client.post("/v2/models/gray/infer", json={"inputs": [tensor], **more})


def tensor_of(**changes: Any) -> dict[str, Any]:
    return {"name": "image", "shape": SHAPE, "datatype": "UINT8", "data": IMAGES.ravel().tolist(), **changes}


def test_health_and_metadata(running: Running) -> None:
    assert running.client.get("/v2/health/live").json() == {"live": True}
    assert running.client.get("/v2/health/ready").json() == {"ready": True}
    server = running.client.get("/v2").json()
    assert server["name"] == "transferkit" and server["version"] and server["extensions"] == []
    assert running.client.get("/v2/models/gray/ready").json() == {"name": "gray", "ready": True}
    model = running.client.get("/v2/models/gray").json()
    assert model["name"] == "gray" and model["versions"] and model["platform"]
    assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, *SIZE, 3]}]
    assert model["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}]
    response = running.client.get("/v2/models/nothing/ready")
    assert response.status_code == 404 and isinstance(response.json()["error"], str)


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
@pytest.mark.parametrize("nested", [True, False])
def test_tensor_of_images(running: Running, predictor: FakePredictor, datatype: str, nested: bool) -> None:
    data = IMAGES.tolist() if nested else IMAGES.ravel().tolist()
    response = infer(running, tensor_of(datatype=datatype, data=data), id="42", outputs=[{"name": "probabilities"}])
    body = response.json()
    assert response.status_code == 200 and body["id"] == "42"
    assert body["model_name"] == "gray" and body["model_version"]
    output = body["outputs"][0]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [2, 2])
    assert output["data"] == pytest.approx([0.8, 0.2, 0, 1])
    expected = np.uint8 if datatype == "UINT8" else np.float32
    assert [source.dtype for source in predictor.sources] == [expected] * 2


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_encoded_images(running: Running, shape: list[int]) -> None:
    data: list[Any] = [base64.b64encode(png(level)).decode() for level in (0, 51)]
    if len(shape) == 2:
        data = [[one] for one in data]
    body = infer(running, {"name": "image", "shape": shape, "datatype": "BYTES", "data": data}).json()
    assert body["outputs"][0]["data"] == pytest.approx([1, 0, 0.8, 0.2]) and "id" not in body


@pytest.mark.parametrize(
    ("tensor", "status"),
    [
        (None, 400),
        ({}, 400),
        (tensor_of(name="pixels"), 400),
        (tensor_of(shape=[1, 9, 9, 3]), 400),
        (tensor_of(shape=[2]), 400),
        (tensor_of(shape=[0, *SIZE, 3]), 400),
        (tensor_of(shape=[10**9, *SIZE, 3]), 413),
        (tensor_of(shape="2"), 400),
        (tensor_of(shape=[True, *SIZE, 3]), 400),
        (tensor_of(datatype="INT64"), 400),
        (tensor_of(datatype=None), 400),
        (tensor_of(data=[1, 2, 3]), 400),
        (tensor_of(data="abc"), 400),
        (tensor_of(data=None), 400),
        (tensor_of(data=["a"] * IMAGES.size), 400),
        (tensor_of(data=[True] * IMAGES.size), 400),
        (tensor_of(data=[256] * IMAGES.size), 400),
        (tensor_of(data=[-1] * IMAGES.size), 400),
        (tensor_of(data=[10**400] * IMAGES.size), 400),
        (tensor_of(data=[0.5] * IMAGES.size), 400),
        (tensor_of(data=[[1] * (IMAGES.size // 2), [1] * (IMAGES.size // 2 - 1), 1]), 400),
        (tensor_of(data=IMAGES.transpose(0, 2, 1, 3).tolist()), 400),
        (tensor_of(datatype="FP32", data=[300.0] * IMAGES.size), 400),
        (tensor_of(datatype="BYTES", shape=[1], data=["/etc/passwd"]), 400),
        (tensor_of(datatype="BYTES", shape=[2], data=["aaaa"]), 400),
        (tensor_of(datatype="BYTES", shape=[1], data=["aaaa"]), 422),
        (tensor_of(datatype="BYTES", shape=[1], data=[5]), 400),
    ],
)
def test_wrong_tensors(running: Running, predictor: FakePredictor, tensor: Any, status: int) -> None:
    response = infer(running, tensor)
    assert response.status_code == status and "Received: " in response.json()["error"]
    assert predictor.batches == [] or status == 422


def test_nan_and_long_texts_are_refused(running: Running) -> None:
    text = '{"inputs": [{"name": "image", "shape": %s, "datatype": "FP32", "data": [%s]}]}'
    headers = {"content-type": "application/json"}
    for value in ("NaN", "Infinity", "1e999"):
        content = text % (SHAPE, ",".join([value] * IMAGES.size))
        assert running.client.post("/v2/models/gray/infer", content=content, headers=headers).status_code == 400
    # One long text in many places must not become an array of texts of its length.
    content = text % (SHAPE, ",".join(['"%s"' % (1_000_000 * "a")] + ['"b"'] * (IMAGES.size - 1)))
    assert running.client.post("/v2/models/gray/infer", content=content, headers=headers).status_code == 400


def test_wrong_requests(running: Running) -> None:
    assert infer(running, tensor_of(), outputs=[{"name": "logits"}]).status_code == 400
    assert infer(running, tensor_of(), id=5).status_code == 400
    assert running.client.post("/v2/models/gray/infer", content=b"{}").status_code == 415
    assert running.client.post("/v2/models/gray/infer", json=[]).status_code == 400
    assert running.client.post("/v2/models/other/infer", json={}).status_code == 404
