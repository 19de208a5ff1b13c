"""Conversions that report success and give models that do not run, or run wrongly: the verification catches them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest

import transferkit as tk
from tests.exporting.conftest import NAMES
from transferkit.exporting import exported_function
from transferkit.exporting import onnx as onnx_format
from transferkit.exporting.arguments import checked_request
from transferkit.exporting.images import verification_images
from transferkit.exporting.verified_report import verified_report
from transferkit.runtimes.onnx import import_onnxruntime

SIZE = 32


def make_predictor_of(backbone: Any) -> tk.Predictor:
    model = tk.build_classifier(backbone, tk.ClassifierHead(3), augmentation=tk.AugmentationBlock(rotation=0.2))
    return tk.Predictor(model, NAMES, tk.ImageSpec((SIZE, SIZE)), activation="softmax")


def with_softmax(predictor: tk.Predictor, *, training: bool | None = None) -> keras.Model:
    """Return the model with the names and the outputs of an exported one; `training` is that of the augmentation."""
    images = keras.Input((SIZE, SIZE, 3), name="image")
    logits = predictor.model(images) if training is None else predictor.model(images, training=training)
    return keras.Model(images, keras.layers.Softmax(name="probabilities")(logits))


def verify_file(predictor: tk.Predictor, path: Path) -> None:
    """Verify a file as an export does."""
    request = checked_request(
        path,
        format=None,
        precision="float32",
        calibration=None,
        input_dtype="float32",
        features=False,
        encoded_images=False,
        tolerance=None,
        min_label_agreement=None,
    )
    verified_report(predictor, request, path, verification_images(None, None, predictor.image_spec))


def export_by_keras(model: keras.Model, path: Path) -> None:
    model(np.zeros((1, SIZE, SIZE, 3), np.float32))
    model.export(path, format="onnx", verbose=False)
    # Keras' own name of the output is another one.
    file = onnx.load(path)
    old = file.graph.output[0].name
    for node in file.graph.node:
        node.output[:] = ["probabilities" if name == old else name for name in node.output]
    file.graph.output[0].name = "probabilities"
    onnx.save(file, path)


def small_backbone(layer: keras.layers.Layer) -> Any:
    images = keras.Input((SIZE, SIZE, 3))
    return tk.BackboneFactory.create(keras.Model(images, keras.layers.Conv2D(8, 4, strides=4)(layer(images))))


def check_normalization(predictor: tk.Predictor, folder: Path) -> None:
    export_by_keras(with_softmax(predictor), folder / "keras.onnx")
    session = import_onnxruntime().InferenceSession(str(folder / "keras.onnx"))
    with pytest.raises(ValueError, match=r"Required inputs .* are missing"):
        session.run(None, {"image": np.zeros((1, SIZE, SIZE, 3), np.float32)})
    with pytest.raises(tk.ExportError, match=r"must run in onnx and agree with Keras\. Received: a model that does"):
        verify_file(predictor, folder / "keras.onnx")
    assert tk.export(predictor, folder / "ours.onnx").max_difference < 1e-5


def test_export_by_keras_of_normalization(tmp_path: Path) -> None:
    layer = keras.layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[50.0, 60.0, 70.0])
    check_normalization(make_predictor_of(small_backbone(layer)), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EfficientNetB0", "EfficientNetV2B0"])
def test_export_by_keras_of_efficientnet(name: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    backbone = tk.BackboneFactory.create(name, input_shape=(SIZE, SIZE, 3), weights=None)
    check_normalization(make_predictor_of(backbone), tmp_path)


def test_export_by_keras_with_augmentation(tmp_path: Path) -> None:
    predictor = make_predictor_of(small_backbone(keras.layers.Rescaling(1 / 128)))
    # As in a model whose augmentation is called with training=True, or whose random layers ignore the argument.
    export_by_keras(with_softmax(predictor, training=True), tmp_path / "keras.onnx")
    with pytest.raises(tk.ExportError, match=r"must run in onnx and agree with Keras\. Received: "):
        verify_file(predictor, tmp_path / "keras.onnx")
    assert tk.export(predictor, tmp_path / "ours.onnx").max_difference < 1e-5


@pytest.mark.parametrize("fault", ["grouped convolution", "erfc"])
def test_convnext_to_onnx(fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = keras.Input((SIZE, SIZE, 3))
    features = keras.layers.Conv2D(8, 4, strides=4)(images)
    features = keras.layers.Conv2D(8, 7, padding="same", groups=8)(features)
    features = keras.layers.Activation("gelu")(keras.layers.Dense(16)(features))
    backbone = tk.BackboneFactory.create(keras.Model(images, features))
    predictor = make_predictor_of(backbone)
    assert tk.export(predictor, tmp_path / "ours.onnx").max_difference < 1e-5
    if fault == "erfc":
        monkeypatch.setattr(onnx_format, "HANDLERS", {})
    else:
        monkeypatch.setattr(exported_function, "portable_operations", lambda model: contextlib.nullcontext())
    with pytest.raises(tk.ExportError, match=r"must run in onnx and agree with Keras\. Received: a (conversion|model)"):
        tk.export(predictor, tmp_path / "forced.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["ours.onnx"]
