"""Each family of backbones in each format and precision; `$TRANSFERKIT_EXPORT_TABLE` names a file for the table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

import transferkit as tk
from transferkit.exporting.formats import FORMATS

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
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    rows: list[str] = []
    yield rows
    path = Path(os.environ.get("TRANSFERKIT_EXPORT_TABLE") or tmp_path_factory.mktemp("export") / "table.md")
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    print(f"\n{path}\n{path.read_text()}")


@pytest.fixture(scope="module")
def data(photos: Path) -> tk.Data:
    builder = tk.DatasetBuilder(photos / "train", test=photos / "validation", image_size=SIZE, progress=False)
    return builder.build()


def make_backbone(name: str, mobilenet_weights: Path) -> tk.Backbone:
    keras.utils.set_random_seed(0)
    options: dict[str, object] = {"input_shape": (SIZE, SIZE, 3)}
    if name == PRETRAINED[0]:
        return tk.BackboneFactory.create("MobileNetV2", alpha=0.35, weights=mobilenet_weights, **options)
    if name == PRETRAINED[1]:
        return tk.BackboneFactory.create("EfficientNetLite0", weights="imagenet", **options)
    return tk.BackboneFactory.create(name, weights=None, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RANDOM, *PRETRAINED])
def test_export_of_family(name: str, data: tk.Data, mobilenet_weights: Path, table: list[str], tmp_path: Path) -> None:
    model = tk.build_classifier(
        make_backbone(name, mobilenet_weights),
        tk.ClassifierHead(2),
        augmentation=tk.AugmentationBlock(flip="horizontal", rotation=0.1),
    )
    trainer = tk.Trainer(model)
    trainer.fit(data, epochs=10, verbose=0)
    missed = []
    for format_name, precision in CELLS:
        report = tk.export(
            trainer,
            tmp_path / f"{precision}_{format_name}" / PATHS[format_name],
            format=format_name,
            precision=precision,
            calibration=data if precision == "int8" else None,
            images=data,
            tolerance=1.0,
            min_label_agreement=0.0,
        )
        table.append(
            f"| {name} | {format_name} | {precision} | {report.max_difference:.2g} | {report.label_agreement:.1%} | "
            f"{report.size_bytes / 1e6:.1f} | {report.latency_ms:.2f} | {report.keras_latency_ms:.2f} |"
        )
        required = 0.0 if precision == "int8" and name in RANDOM else AGREEMENT[precision]
        if report.label_agreement < required or (precision == "float32" and report.max_difference > 1e-5):
            missed.append(table[-1])
    assert not missed
