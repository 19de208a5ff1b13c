"""A served model of numbers: values and intervals, heat maps, and tensors named values."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.prediction.test_numbers import SIZE, make_data, make_trainer
from tests.serving.conftest import Running, Serve

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trainer = make_trainer()
    trainer.fit(make_data(100), epochs=3, verbose=0)
    return trainer.save(tmp_path_factory.mktemp("saved") / "brightness")


@pytest.fixture
def running(run: Serve, folder: Path) -> Running:
    return run({"brightness": folder})


def photo(gray: int) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(np.full((SIZE, SIZE, 3), gray, np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def test_predictions_are_values_with_intervals(running: Running, folder: Path) -> None:
    photos = [photo(80), photo(160)]
    results = running.client.post("/v1/predict", files=[("image", one) for one in photos]).json()["predictions"]
    for result, expected in zip(results, tk.load(folder).predict(photos), strict=True):
        assert set(result) == {"value", "low", "high"}
        assert result["value"] == pytest.approx(expected.value, rel=1e-5)
        assert (result["low"], result["high"]) == pytest.approx((expected.low, expected.high), rel=1e-5)
    assert running.client.get("/v1/models").json()["models"][0]["class_names"] == []


def test_heat_map_is_that_of_the_value(running: Running, folder: Path) -> None:
    body = running.client.post("/v1/explain", content=photo(80), headers=JPEG).json()
    assert body["value"] == pytest.approx(tk.load(folder).predict(photo(80)).value, rel=1e-4)
    assert "label" not in body and body["heat_map_png"]
    refused = running.client.post("/v1/explain?class_name=cats", content=photo(80), headers=JPEG)
    assert refused.status_code == 400 and "`class_name` must be a class of the model" in refused.text


def test_tensor_of_values(running: Running, folder: Path) -> None:
    metadata = running.client.get("/v2/models/brightness").json()
    assert metadata["outputs"] == [{"name": "values", "datatype": "FP32", "shape": [-1, 1]}]
    images = np.stack([np.full((SIZE, SIZE, 3), gray, np.uint8) for gray in (80, 160)])
    tensor = {"name": "image", "shape": list(images.shape), "datatype": "UINT8", "data": images.tolist()}
    request = {"inputs": [tensor], "outputs": [{"name": "values"}]}
    (output,) = running.client.post("/v2/models/brightness/infer", json=request).json()["outputs"]
    assert output["name"] == "values" and output["shape"] == [2, 1]
    expected = [one.value for one in tk.load(folder).predict(images)]
    np.testing.assert_allclose(output["data"], expected, rtol=1e-5)
    request["outputs"] = [{"name": "probabilities"}]
    refused = running.client.post("/v2/models/brightness/infer", json=request)
    assert refused.status_code == 400 and "`outputs` must be ['values']" in refused.json()["error"]
