"""Each family of backbones in each format and precision; `$TRANSFERKIT_EXPORT_TABLE` names a file for the table."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.engines.portable_operations import portable_operations
from transferkit.exporting.formats import FORMATS
from transferkit.images.loading import load_image
from transferkit.modeling.keras_graph import all_layers

SIZE, PHOTO_SIZE = 80, 160
# Backbones of random weights are trained on synthetic images: with the initial statistics of batch normalization, their
# features are close to zero, and with those of images, they amplify the rounding of each operation.
TRAINED = {
    "MobileNetV2": 1e-3,
    "MobileNetV3Large": 1e-3,
    "EfficientNetB0": 1e-3,
    "EfficientNetV2B0": 1e-3,
    "NASNetMobile": 1e-3,
    "ResNet50": 1e-3,
    "ResNet50V2": 1e-3,
    "DenseNet121": 1e-3,
    "InceptionV3": 1e-3,
    # Without batch normalization a larger learning rate diverges.
    "VGG16": 5e-5,
    "ConvNeXtTiny": 3e-4,
}
PRETRAINED = ("MobileNetV2 0.35, ImageNet", "EfficientNetLite0, ImageNet")
CLASSES = ("red", "green", "blue", "yellow")
COLORS = np.array([(220, 40, 40), (40, 200, 60), (50, 70, 230), (230, 210, 40)], np.float32)
CELLS = [
    (name, precision)
    for name, one in FORMATS.items()
    for precision in one.precisions
    if precision in ("float32", "float16", "int8")
]
PATHS = {"saved_model": "model", "litert": "model.tflite", "onnx": "model.onnx", "openvino": "model"}
# The smallest fraction of equal labels; that of 8 bits is required of the weights of ImageNet.
AGREEMENT = {"float32": 1.0, "float16": 0.985, "int8": 0.97}
HEADER = (
    "| backbone | format | precision | largest difference | labels equal | accuracy, in Keras | MB | ms, in Keras |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = Path(os.environ.get("TRANSFERKIT_EXPORT_TABLE") or tmp_path_factory.mktemp("export") / "table.md")
    # Rows are appended, so that the table can be made in several runs.
    if not path.exists():
        path.write_text(HEADER)
    yield path
    print(f"\n{path}\n{path.read_text()}")


@dataclasses.dataclass
class Case:
    """A classifier, images for its verification, and training images."""

    predictor: tk.Predictor
    images: Any
    calibration: np.ndarray


def make_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images of a square of one of four colors before a background, and their labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(len(CLASSES), size=count)
    images = generator.uniform(0, 255, (count, 1, 1, 3)) + generator.normal(0, 30, (count, SIZE, SIZE, 3))
    for image, label, corner in zip(images, labels, generator.integers(SIZE // 2, size=(count, 2))):
        top, left = corner
        square = COLORS[label] * generator.uniform(0.7, 1.1) + generator.normal(0, 25, (SIZE // 2, SIZE // 2, 3))
        image[top : top + SIZE // 2, left : left + SIZE // 2] = square
    return np.clip(images, 0, 255).astype(np.uint8), labels


class AccuracyReached(keras.callbacks.Callback):
    """Stops the training at an accuracy on other images."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.model.stop_training = (logs or {})["val_accuracy"] >= 0.97


def trained(name: str) -> Case:
    keras.utils.set_random_seed(0)
    backbone = tk.BackboneFactory.create(name, input_shape=(SIZE, SIZE, 3), weights=None)
    backbone.unfreeze(batch_norm=True)
    augmentation = tk.AugmentationBlock(flip="horizontal", rotation=0.1)
    model = tk.build_classifier(backbone, tk.ClassifierHead(len(CLASSES)), augmentation=augmentation)
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            # The training is too short for the slow averages of the catalogue.
            layer.momentum = 0.9
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(TRAINED[name], clipnorm=1.0)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    images, labels = make_images(512, 0)
    with portable_operations(model):
        others = make_images(64, 1)
        model.fit(images, labels, epochs=20, validation_data=others, callbacks=[AccuracyReached()], verbose=0)
    predictor = tk.Predictor(model, CLASSES, tk.ImageSpec((SIZE, SIZE)), activation="softmax")
    builder = tk.DatasetBuilder(
        (images[:8], labels[:8]), test=make_images(200, 2), image_size=SIZE, class_names=CLASSES, progress=False
    )
    return Case(predictor, builder.build(), images[:100])


def pretrained(name: str, photos: Path, weights: Path) -> Case:
    keras.utils.set_random_seed(0)
    size = PHOTO_SIZE
    builder = tk.DatasetBuilder(photos / "train", test=photos / "validation", image_size=size, progress=False)
    data = builder.build()
    options: dict[str, Any] = {"input_shape": (size, size, 3)}
    if name == PRETRAINED[0]:
        backbone = tk.BackboneFactory.create("MobileNetV2", alpha=0.35, weights=weights, **options)
    else:
        backbone = tk.BackboneFactory.create("EfficientNetLite0", weights="imagenet", **options)
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)))
    trainer.fit(data, epochs=10, verbose=0)
    paths = data.files["train"][::4]
    return Case(trainer.predictor(), data, np.stack([load_image(path, tk.ImageSpec((size, size))) for path in paths]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRAINED, *PRETRAINED])
def test_export_of_family(name: str, photos: Path, mobilenet_weights: Path, table: Path, tmp_path: Path) -> None:
    case = trained(name) if name in TRAINED else pretrained(name, photos, mobilenet_weights)
    missed = []
    for format_name, precision in CELLS:
        report = tk.export(
            case.predictor,
            tmp_path / f"{precision}_{format_name}" / PATHS[format_name],
            format=format_name,
            precision=precision,
            calibration=case.calibration if precision == "int8" else None,
            images=case.images,
            tolerance=1.0,
            min_label_agreement=0.0,
        )
        row = (
            f"| {name} | {format_name} | {precision} | {report.max_difference:.2g} | {report.label_agreement:.1%} | "
            f"{report.accuracy:.3f}, {report.keras_accuracy:.3f} | {report.size_bytes / 1e6:.1f} | "
            f"{report.latency_ms:.2f}, {report.keras_latency_ms:.2f} |"
        )
        with table.open("a") as file:
            file.write(f"{row}\n")
        required = 0.0 if precision == "int8" and name in TRAINED else AGREEMENT[precision]
        if report.label_agreement < required or (precision == "float32" and report.max_difference > 1e-5):
            missed.append(row)
    assert not missed
