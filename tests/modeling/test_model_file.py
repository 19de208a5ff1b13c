"""Reading hostile and damaged model files."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from transferkit.modeling.model_file import check_weights_are_saved, read_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    images = keras.Input((8, 8, 3))
    keras.Model(images, keras.layers.Dense(4, name="logits")(images)).save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def rewrite(path: Path, name: str, data: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in {**members, name: data}.items():
            archive.writestr(member, content)


def config_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json").decode()


def test_read_model(path: Path) -> None:
    model = read_model(path)
    images = np.ones((1, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(model(images), keras.saving.load_model(path)(images))


@keras.saving.register_keras_serializable("tests")
class Nested(keras.layers.Layer):
    """Its layers are in lists of lists, whose weights Keras 3.8 does not save."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blocks = [[keras.layers.Dense(3)], [keras.layers.Dense(3)]]

    def build(self, input_shape: Any) -> None:
        for block in self.blocks:
            block[0].build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.blocks[1][0](self.blocks[0][0](inputs))


def test_read_model_without_weights_of_nested_layers_raises(path: Path) -> None:
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, Nested(name="nested")(images))
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        contents = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(contents, "r+") as file:
        if "blocks" not in file["layers/nested"]:
            with pytest.raises(ValueError, match="Received: 0 of 4 in the file. Keep the layers"):
                check_weights_are_saved(path, model)
            return
        check_weights_are_saved(path, model)
        np.testing.assert_array_equal(read_model(path).get_weights()[2], model.get_weights()[2])
        del file["layers/nested/blocks/container_1"]
    rewrite(path, "model.weights.h5", contents.getvalue())
    with pytest.raises(ValueError, match="must save each weight of .*Received: 2 of 4 in the file. Keep the layers"):
        check_weights_are_saved(path, model)
    # Keras warns, and the layer has random weights.
    with pytest.raises(ValueError, match="Skipping nested container"):
        read_model(path)


def test_read_model_of_too_many_weights_raises(path: Path) -> None:
    rewrite(path, "config.json", config_of(path).replace('"units": 4', '"units": 300000000').encode())
    with pytest.raises(ValueError, match="'logits' needs more memory than the weights in the file have"):
        read_model(path)
    # Other models can have as many weights as they like.
    assert keras.layers.Layer.add_weight.__name__ == "add_weight"


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [("config.json", 65 << 20, "the configuration has"), ("model.weights.h5", 20 << 20, "it unpacks to")],
)
def test_read_model_of_huge_member_raises(path: Path, name: str, size: int, reason: str) -> None:
    rewrite(path, name, bytes(size))
    with pytest.raises(ValueError, match=reason):
        read_model(path)


@pytest.mark.parametrize("depth", [400, 100_000])
def test_read_model_of_deep_configuration_raises(path: Path, depth: int) -> None:
    rewrite(path, "config.json", b"[" * depth + b"]" * depth)
    with pytest.raises(ValueError):
        read_model(path)


def test_read_model_without_layers_raises(path: Path) -> None:
    rewrite(path, "config.json", json.dumps({"class_name": "Functional", "config": {}}).encode())
    with pytest.raises(ValueError):
        read_model(path)


def test_read_model_in_threads(path: Path) -> None:
    shapes = []
    threads = [threading.Thread(target=lambda: shapes.append(read_model(path).output_shape)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shapes == [(None, 8, 8, 4)] * 4
    assert keras.layers.Layer.add_weight.__name__ == "add_weight"
