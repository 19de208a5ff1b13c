"""The whole pipeline, from images to a classifier, on real photos where they are available."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk

EXAMPLE = Path(__file__).parents[1] / "examples" / "cats_dogs.py"
PICTURES = ["images.png", "augmented.png", "learning_curves.png", "fine_tuning_curves.png", "predictions.png"]


def run_example(*arguments: object, home: Path) -> str:
    environment = {**os.environ, "TRANSFERKIT_HOME": str(home), "KERAS_HOME": str(home / "keras"), "MPLBACKEND": "Agg"}
    command = [sys.executable, str(EXAMPLE), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.slow
def test_example_runs_on_folder(synthetic: Path, tmp_path: Path) -> None:
    options = ["--data", synthetic, "--image-size", 64, "--weights", "none", "--alpha", 0.35]
    options += ["--output", tmp_path / "out", "--epochs", 2, "--fine-tune-epochs", 1]
    output = run_example(*options, home=tmp_path / "home")
    assert "Everything is in" in output
    assert "as before saving" in output
    for name in PICTURES:
        assert (tmp_path / "out" / name).stat().st_size > 5000
    assert json.loads((tmp_path / "out/classifier/transferkit.json").read_text())["class_names"] == ["cats", "dogs"]


def test_example_with_missing_weights_reports_reason(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--data", synthetic, "--image-size", 32, "--weights", tmp_path / "none.h5", "--output", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *map(str, options)])
    # Python prints an exit code that is text and ends with the status 1.
    with pytest.raises(SystemExit, match="there is no file"):
        runpy.run_path(str(EXAMPLE), run_name="__main__")


def test_frozen_phase_on_real_photos_reaches_accuracy(photos: Path, mobilenet_weights: Path) -> None:
    data = tk.DatasetBuilder(photos, image_size=(160, 160)).build()
    backbone = tk.BackboneFactory.create(
        "MobileNetV2", input_shape=(160, 160, 3), alpha=0.35, weights=mobilenet_weights
    )
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)), learning_rate=1e-3)
    trainer.fit(data, epochs=10, verbose=0)
    assert trainer.evaluate(data.validation).accuracy >= 0.94


def test_training_batches_have_training_images_only(synthetic: Path) -> None:
    data = tk.DatasetBuilder(synthetic, test=0.5, image_size=(32, 32), batch_size=7).build()
    names = {split: set(files) for split, files in data.files.items()}
    assert not names["train"] & (names["validation"] | names["test"]) and not names["validation"] & names["test"]
    assert all("/train/" in name for name in names["train"])
    # Compare the images themselves over epochs: each training file appears once per epoch.
    from transferkit.images import load_image

    def decoded(paths: set[str]) -> set[bytes]:
        return {load_image(path, data.image_spec).astype("float32").tobytes() for path in paths}

    allowed = decoded(names["train"])
    for _ in range(3):
        seen = [image.tobytes() for images, _ in data.train for image in np.asarray(images)]
        assert len(seen) == len(names["train"]) and set(seen) == allowed


_TRAIN = """
import sys, hashlib, json
import transferkit as tk
data = tk.DatasetBuilder(sys.argv[1], test=0.5, image_size=(48, 48), batch_size=8, seed=3).build()
import keras
digests = {}
for trained_on in ("cache", "images"):
    keras.utils.set_random_seed(3)
    images = x = keras.Input((48, 48, 3))
    for channels in (8, 16):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Dropout(0.1)(keras.layers.ReLU()(x))
    backbone = tk.BackboneFactory.create(keras.Model(images, x), preprocessing="tf")
    model = tk.build_classifier(backbone, tk.ClassifierHead(2), augmentation=tk.AugmentationBlock(rotation=0.2))
    trainer = tk.Trainer(model, learning_rate=1e-3, seed=3, cache=trained_on == "cache")
    trainer.fit(data, epochs=2, verbose=0)
    trainer.fine_tune(data, epochs=1, unfreeze_from=4, keep_best=False, verbose=0)
    digests[trained_on] = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
print(json.dumps(digests))
"""


@pytest.fixture(scope="module")
def digests(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Return the digests of the weights that two processes trained with one seed, on two copies of the images."""
    folder = tmp_path_factory.mktemp("processes")
    found = []
    for number, images in enumerate((synthetic, shutil.copytree(synthetic, folder / "a copy elsewhere"))):
        environment = {**os.environ, "TRANSFERKIT_HOME": str(folder / f"home{number}")}
        command = [sys.executable, "-c", _TRAIN, str(images)]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        found.append(json.loads(result.stdout.splitlines()[-1]))
    return found


@pytest.mark.parametrize("trained_on", ["cache", "images"])
def test_two_processes_with_one_seed_train_equal_weights(digests: list[dict[str, str]], trained_on: str) -> None:
    assert digests[0][trained_on] == digests[1][trained_on]
