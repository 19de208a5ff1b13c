"""Every kind of head in each format of export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.head.classifier_head import KINDS

OPTIONS: dict[str, dict[str, Any]] = {"mlp": {"hidden": (8,)}, "knn": {"max_images": 60}}
NAMES = ["a", "b", "c"]


def trained(kind: str) -> tk.Trainer:
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = np.clip(80 * labels[:, None, None, None] + generator.normal(40, 15, (60, 32, 32, 3)), 0, 255)
    builder = tk.DatasetBuilder((images.astype("uint8"), labels), class_names=NAMES, image_size=32, progress=False)
    trainer = tk.Trainer(small_classifier(num_classes=3, kind=kind, **OPTIONS.get(kind, {})))
    trainer.fit(builder.build(), verbose=0)
    return trainer


@pytest.mark.parametrize("kind", KINDS)
def test_exported_head_is_that_of_the_classifier(kind: str, tmp_path: Path) -> None:
    predictor = trained(kind).predictor()
    for name, format_ in (("model.onnx", "onnx"), ("openvino", "openvino"), ("model.tflite", "litert")):
        report = tk.export(predictor, tmp_path / name, format=format_)
        assert report.max_difference < 1e-5
        assert report.label_agreement == 1
