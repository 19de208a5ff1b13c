"""Build a data set, train, fine-tune, save, load and predict on synthetic images; run with any supported versions.

python tests/smoke.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TRANSFERKIT_HOME"] = tempfile.mkdtemp()

import keras
import numpy as np

import transferkit as tk
from transferkit.images import load_image


def main(folder: Path) -> None:
    tk.datasets.synthetic_cats_and_dogs(folder / "images", training=60, validation=20, size=64)
    data = tk.DatasetBuilder(folder / "images", test=0.5, image_size=64, batch_size=16).build()
    keras.utils.set_random_seed(0)
    backbone = tk.BackboneFactory.create("MobileNetV2", input_shape=(64, 64, 3), weights=None, alpha=0.35)
    augmentation = tk.AugmentationBlock(rotation=0.1, contrast=0.1)
    model = tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes), augmentation=augmentation)
    for engine in ("frozen_graph", "openvino", "auto"):
        trainer = tk.Trainer(model, learning_rate=1e-3, engine=engine)
        trainer.fit(data, epochs=2, verbose=0)
    trainer.fine_tune(data, epochs=1, unfreeze_from=100, verbose=0)
    report = trainer.evaluate(data.test)
    report.plot(folder / "report.png")
    trainer.history.plot(folder / "curves.png")
    data.show(folder / "images.png")
    trainer.save(folder / "classifier")
    paths = data.files["test"]
    loaded = [p.probability_array for p in tk.load(folder / "classifier").predict(paths)]
    np.testing.assert_allclose(loaded, report.probabilities, atol=1e-4)
    plain = keras.saving.load_model(folder / "classifier" / "model.keras", compile=False)
    images = np.stack([load_image(path, data.image_spec) for path in paths]).astype("float32")
    logits = plain.predict(images, verbose=0)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits[:, 0])), report.probabilities[:, 1], atol=1e-4)
    print(f"smoke test passed: Keras {keras.__version__}, NumPy {np.__version__}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
