"""Each family of backbones in each format and precision; `$TRANSFERKIT_EXPORT_TABLE` names a file for the table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.exporting.formats import FORMATS
from transferkit.images.loading import load_image

SIZE = 96
RANDOM = (
    "MobileNetV2",
    "MobileNetV3Large",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "DenseNet121",
    "InceptionV3",
    "VGG16",
    "ConvNeXtTiny",
)
PRETRAINED = ("MobileNetV2 0.35, ImageNet", "EfficientNetLite0, ImageNet")
CELLS = [
    (name, precision)
    for name, one in FORMATS.items()
    for precision in one.precisions
    if precision in ("float32", "float16", "int8")
]
PATHS = {"saved_model": "model", "litert": "model.tflite", "onnx": "model.onnx", "openvino": "model"}
# The smallest fraction of equal labels. Weights that were never trained say nothing about 8 bits: the ranges of their
# activations are not those of a trained network.
AGREEMENT = {"float32": 1.0, "float16": 0.985, "int8": 0.97}
HEADER = (
    "| backbone | format | precision | largest difference | labels equal | MB | ms, one image | ms in Keras |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = Path(os.environ.get("TRANSFERKIT_EXPORT_TABLE") or tmp_path_factory.mktemp("export") / "table.md")
    path.write_text(HEADER)
    yield path
    print(f"\n{path}\n{path.read_text()}")


@pytest.fixture(scope="module")
def data(photos: Path) -> tk.Data:
    builder = tk.DatasetBuilder(photos / "train", test=photos / "validation", image_size=SIZE, progress=False)
    return builder.build()


def make_backbone(name: str, mobilenet_weights: Path, images: np.ndarray) -> tk.Backbone:
    keras.utils.set_random_seed(0)
    options: dict[str, Any] = {"input_shape": (SIZE, SIZE, 3)}
    if name == PRETRAINED[0]:
        return tk.BackboneFactory.create("MobileNetV2", alpha=0.35, weights=mobilenet_weights, **options)
    if name == PRETRAINED[1]:
        return tk.BackboneFactory.create("EfficientNetLite0", weights="imagenet", **options)
    backbone = tk.BackboneFactory.create(name, weights=None, **options)
    set_statistics(backbone.model, images)
    return backbone


def set_statistics(model: keras.Model, images: np.ndarray) -> None:
    """Set the statistics of batch normalization from images: with the initial ones, the features of deep networks
    are close to zero or to infinity, and say nothing about a conversion."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in layers:
        layer.momentum, layer.trainable = 0.0, True
    model(images.astype(np.float32), training=True)
    for layer in layers:
        layer.momentum, layer.trainable = 0.99, False


def make_predictor(backbone: tk.Backbone, data: tk.Data) -> tk.Predictor:
    """Return a classifier whose logits, along the difference of the means of two classes, have a deviation of 1."""
    augmentation = tk.AugmentationBlock(flip="horizontal", rotation=0.1)
    model = tk.build_classifier(backbone, tk.ClassifierHead(2), augmentation=augmentation)
    predictor = tk.Predictor(model, data.class_names, data.splits["train"].image_spec, activation="sigmoid")
    features, labels = predictor.embed(data.files["train"]), np.asarray(data.splits["train"].labels)
    direction = features[labels == 1].mean(axis=0) - features[labels == 0].mean(axis=0)
    projected = features @ direction
    kernel = direction[:, None] / projected.std()
    logits = model.get_layer("logits")
    logits.kernel.assign(kernel)
    logits.bias.assign(-features.mean(axis=0) @ kernel)
    return tk.Predictor(model, data.class_names, data.splits["train"].image_spec, activation="sigmoid")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RANDOM, *PRETRAINED])
def test_export_of_family(name: str, data: tk.Data, mobilenet_weights: Path, table: Path, tmp_path: Path) -> None:
    training_images = np.stack([load_image(path, data.splits["train"].image_spec) for path in data.files["train"][::8]])
    predictor = make_predictor(make_backbone(name, mobilenet_weights, training_images), data)
    missed = []
    for format_name, precision in CELLS:
        report = tk.export(
            predictor,
            tmp_path / f"{precision}_{format_name}" / PATHS[format_name],
            format=format_name,
            precision=precision,
            calibration=training_images if precision == "int8" else None,
            images=data,
            tolerance=1.0,
            min_label_agreement=0.0,
        )
        row = (
            f"| {name} | {format_name} | {precision} | {report.max_difference:.2g} | {report.label_agreement:.1%} | "
            f"{report.size_bytes / 1e6:.1f} | {report.latency_ms:.2f} | {report.keras_latency_ms:.2f} |"
        )
        with table.open("a") as file:
            file.write(f"{row}\n")
        required = 0.0 if precision == "int8" and name in RANDOM else AGREEMENT[precision]
        if report.label_agreement < required or (precision == "float32" and report.max_difference > 1e-5):
            missed.append(row)
    assert not missed
