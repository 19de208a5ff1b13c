"""Fit, fine-tune, evaluate and predict with one seed on synthetic images; print the results as JSON.

    python tests/reproduce.py > tests/reproduce.json      # after a change that is meant to change results

`tests/test_reproducibility.py` compares a run with the stored values. Only public names are used, so that the script
runs on other commits too. Floats are written in hexadecimal: equal text means equal bits.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Sums depend on how the work is divided between threads, and on the instructions that oneDNN chooses.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import keras
import numpy as np
from PIL import Image

import transferkit as tk

CLASSES = ("circles", "squares", "stripes")


def write_images(folder: Path) -> None:
    """Write 24 training and 12 validation images of each class, JPEG and PNG, of different sizes."""
    for split, count in (("train", 24), ("validation", 12)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                generator = np.random.default_rng([label, number, split == "train"])
                suffix = "png" if number % 3 == 0 else "jpg"
                path = folder / split / name / f"{name}.{number}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(_pixels(name, generator)).save(path, quality=92)


def _pixels(name: str, generator: np.random.Generator) -> np.ndarray:
    height, width = generator.integers(40, 90, 2)
    rows, columns = np.mgrid[:height, :width]
    y, x, size = generator.uniform(15, 25), generator.uniform(15, 25), generator.uniform(8, 14)
    inside = {
        "circles": (rows - y) ** 2 + (columns - x) ** 2 < size**2,
        "squares": (abs(rows - y) < size) & (abs(columns - x) < size),
        "stripes": (rows + columns) // int(size / 2) % 2 == 0,
    }[name]
    background, color = generator.uniform(0, 255, (2, 3))
    image = np.where(inside[..., None], color, background) + generator.normal(0, 20, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def small_network() -> keras.Model:
    keras.utils.set_random_seed(1)
    images = x = keras.Input((32, 32, 3))
    for number, channels in enumerate((8, 12, 16)):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", name=f"block{number}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
        x = keras.layers.Dropout(0.1, name=f"block{number}_drop")(x)
    return keras.Model(images, x, name="small")


def run(folder: Path, *, classes: int, augment: bool, **options: Any) -> dict[str, Any]:
    """Return losses, reports and probabilities of a frozen and a fine-tuning phase."""
    paths = [path for name in CLASSES[:classes] for path in sorted((folder / "train" / name).iterdir())]
    held = [path for name in CLASSES[:classes] for path in sorted((folder / "validation" / name).iterdir())]
    train, validation = ((files, [path.parent.name for path in files]) for files in (paths, held))
    data = tk.DatasetBuilder(train, validation=validation, test=0.5, image_size=32, batch_size=8, seed=3).build()
    augmentation = tk.AugmentationBlock(rotation=0.1, zoom=0.1, contrast=0.2) if augment else None
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    model = tk.build_classifier(backbone, tk.ClassifierHead(classes), augmentation=augmentation)
    trainer = tk.Trainer(model, learning_rate=1e-2, seed=3, **options)
    views = 2 if augment else 1
    trainer.fit(data, epochs=3, num_views=views, verbose=0)
    # The recipe of the stored results, which were computed before fine-tuning had a schedule.
    recipe: dict[str, Any] = {"schedule": "constant", "learning_rate": 1e-3, "keep_best": False}
    trainer.fine_tune(data, epochs=2, unfreeze_from="block2_conv", num_views=views, **recipe, verbose=0)
    report = trainer.evaluate(data.test)
    trainer.save(folder / "saved")
    loaded = tk.load(folder / "saved", engine=options.get("engine", "auto"))
    files = sorted(path for paths in data.files.values() for path in paths)
    return {
        "splits": {name: [Path(path).name for path in paths] for name, paths in data.files.items()},
        "history": {name: _hex(values) for name, values in sorted(trainer.history.history.items())},
        "loss": _hex([report.loss]),
        "report": _hex(np.ravel(report.probabilities)),
        "trainer": _hex([value for p in trainer.predict(files) for value in p.probabilities.values()]),
        "loaded": _hex([value for p in loaded.predict(files) for value in p.probabilities.values()]),
    }


def _hex(values: Any) -> list[str]:
    return [float(value).hex() for value in values]


def machine() -> dict[str, Any]:
    """Return what the last bits of the results depend on."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    packages = ("tensorflow", "keras", "numpy", "openvino")
    versions: dict[str, str | None] = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    instructions = sorted(name for name in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if name in flags)
    return {"architecture": platform.machine(), "instructions": instructions, "versions": versions}


def main() -> dict[str, Any]:
    os.environ["TRANSFERKIT_HOME"] = tempfile.mkdtemp()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder)
        return {
            "machine": machine(),
            "results": {
                "frozen graph": run(folder, classes=2, augment=False, engine="frozen_graph"),
                "augmented, three classes": run(folder, classes=3, augment=True, engine="frozen_graph"),
                "keras, float16 features": run(
                    folder, classes=2, augment=False, engine="keras", feature_dtype="float16"
                ),
                "on images": run(folder, classes=3, augment=True, engine="keras", cache=False),
            },
        }


if __name__ == "__main__":
    json.dump(main(), sys.stdout, indent=1)
    print()
