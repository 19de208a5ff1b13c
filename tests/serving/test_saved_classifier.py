"""A saved classifier: the responses of the server are those of `tk.load`."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.serving.conftest import Running, Serve
from tests.waiting import wait_until
from transferkit.images import read_image
from transferkit.images.loading import load_image
from transferkit.prediction import Predictor
from transferkit.saving import save_classifier

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(keras.layers.Rescaling(1 / 127.5, -1)(images))
    model = keras.Model(images, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
    predictor = Predictor(model, ["<b>", "cats", "dogs"], tk.ImageSpec((32, 32)), activation="softmax")
    return save_classifier(tmp_path_factory.mktemp("saved") / "pets", predictor)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Predictor:
    return tk.load(folder)


@pytest.fixture
def running(run: Serve, folder: Path, synthetic: Path) -> Running:
    return run({"pets": folder}, training_images=synthetic / "train")


@pytest.fixture
def photos(synthetic: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(synthetic.glob("validation/*/*.jpg"))][:6]


def test_predictions(running: Running, loaded: Predictor, photos: list[bytes]) -> None:
    expected = loaded.predict(photos)
    files = [("image", photo) for photo in photos]
    results = running.client.post("/v1/predict", files=files).json()["predictions"]
    for result, prediction in zip(results, expected, strict=True):
        assert result["label"] == prediction.label
        assert result["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-5)
    assert running.client.get("/v1/models").json()["models"][0]["image_size"] == [32, 32]


def test_embedding(running: Running, loaded: Predictor, photos: list[bytes]) -> None:
    body = running.client.post("/v1/embed", content=photos[0], headers=JPEG).json()
    np.testing.assert_allclose(body["embedding"], loaded.embed(photos[0]), atol=1e-5)


def test_heat_map(running: Running, loaded: Predictor, photos: list[bytes]) -> None:
    headers = {**JPEG, "accept": "image/png"}
    response = running.client.post("/v1/explain?class_name=cats", content=photos[0], headers=headers)
    expected = loaded.explain(photos[0], class_name="cats").overlay()
    np.testing.assert_array_equal(read_image(response.content), expected)
    body = running.client.post("/v1/explain", content=photos[0], headers=JPEG).json()
    with Image.open(io.BytesIO(base64.b64decode(body["heat_map_png"]))) as image:
        assert image.size == (32, 32) and body["label"] in loaded.class_names


@pytest.mark.parametrize("datatype", ["UINT8", "FP32", "BYTES"])
def test_inference(running: Running, loaded: Predictor, photos: list[bytes], datatype: str) -> None:
    images = np.stack([load_image(photo, loaded.image_spec) for photo in photos])
    tensor = {"name": "image", "shape": list(images.shape), "datatype": datatype, "data": images.tolist()}
    if datatype == "BYTES":
        tensor |= {"shape": [len(photos)], "data": [base64.b64encode(photo).decode() for photo in photos]}
    output = running.client.post("/v2/models/pets/infer", json={"inputs": [tensor]}).json()["outputs"][0]
    assert output["shape"] == [len(photos), 3]
    expected = np.stack([one.probability_array for one in loaded.predict(photos)])
    np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), expected, atol=1e-5)


def test_training_image_is_most_similar_to_itself(running: Running, synthetic: Path) -> None:
    wait_until(lambda: running.service.store.get(None).neighbors.ready)
    for path in sorted(synthetic.glob("train/*/*.jpg"))[::8]:
        body = running.client.post("/v1/neighbors", content=path.read_bytes(), headers=JPEG).json()
        assert len(body["neighbors"]) == 5
        assert body["neighbors"][0]["similarity"] == pytest.approx(1, abs=1e-4)


def test_saving_again_replaces_the_model(run: Serve, folder: Path, tmp_path: Path, photos: list[bytes]) -> None:
    target = tmp_path / "pets"
    save_classifier(target, tk.load(folder))
    running = run({"pets": target}, reload_seconds=0.1)
    old = tk.load(folder)
    other = Predictor(old.model, ["x", "y", "z"], old.image_spec, activation="softmax")
    save_classifier(target, other)
    wait_until(lambda: running.client.post("/v1/predict", content=photos[0], headers=JPEG).json()["label"] in "xyz")
    (target / "model.keras").write_bytes(b"broken")
    (target / "transferkit.json").write_text("{}")
    wait_until(lambda: 'result="failed"' in running.client.get("/metrics").text)
    assert running.client.post("/v1/predict", content=photos[0], headers=JPEG).json()["label"] in "xyz"
