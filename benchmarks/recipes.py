"""Compare recipes of fine-tuning on five data sets, near and far from ImageNet.

    python benchmarks/recipes.py --data IMAGES [--sets cats_10 textures] [--recipes default "all layers"] [--seeds 3]

IMAGES has train/cats, train/dogs, validation/cats and validation/dogs. The other sets are generated: 40 rendered
characters with noise, and 8 textures that differ in direction and spacing. A fifth of the training images choose the
best epoch; accuracy is that of test images: of the head alone, of the fine-tuned weights, and of those that are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import transferkit as tk
from transferkit.data import Data
from transferkit.images.loading import load_image
from transferkit.training import trainer as trainer_module
from transferkit.training.improvement import validation_losses

Examples = tuple[np.ndarray, np.ndarray]
CHARACTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabdefghkmnqrt234"
TEXTURES = 8
# Training images per class.
SETS = {"cats_10": 10, "cats_50": 50, "cats_300": 300, "characters": 20, "textures": 20}
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "upper third, 1e-4, constant": {"fraction": 1 / 3, "learning_rate": 1e-4, "schedule": "constant", "epochs": 10},
    "1e-4": {"learning_rate": 1e-4},
    "1e-3": {"learning_rate": 1e-3},
    "one cycle": {"schedule": "one_cycle"},
    "constant": {"schedule": "constant"},
    "layer decay 0.8": {"layer_decay": 0.8},
    "layer decay 0.65, 1e-3": {"layer_decay": 0.65, "learning_rate": 1e-3},
    "trained batch normalization": {"batch_norm": True},
    "trained batch normalization, 1e-3": {"batch_norm": True, "learning_rate": 1e-3},
    "upper half": {"fraction": 0.5},
    "gradual": {"gradual": True},
    "L2-SP 0.1": {"l2_sp": 0.1},
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": "adamw", "weight_decay": 0.01},
    "SGD with momentum": {"optimizer": keras.optimizers.SGD(1e-2, momentum=0.9), "learning_rate": "auto"},
}


def main() -> None:
    """Train every recipe on every set with every seed; print one line for each, and the mean table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--recipes", nargs="*", default=["default"], choices=[*RECIPES, *OPTIMIZERS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for name in options.sets:
        for seed in range(options.seeds):
            for recipe in options.recipes:
                row = {"set": name, "seed": seed, "recipe": recipe}
                row |= measure(examples(name, SETS[name], seed, options.data), recipe, seed, options.backbone)
                rows.append(row)
                print(json.dumps(row), flush=True)
                if options.json:
                    options.json.write_text(json.dumps(rows, indent=1))
    for name in options.sets:
        for recipe in options.recipes:
            chosen = [row for row in rows if (row["set"], row["recipe"]) == (name, recipe)]
            columns = (np.mean([row[key] for row in chosen]) for key in ("head", "tuned", "accuracy"))
            print(f"| {name} | {recipe} | {' | '.join(f'{mean:.4f}' for mean in columns)} |")


def measure(sets: tuple[Examples, Examples], recipe: str, seed: int, backbone: str) -> dict[str, float]:
    """Return the accuracy on test images of the head, and after fine-tuning."""
    data = load_data(sets, seed)
    size = data.image_size[0]
    model = tk.build_classifier(
        tk.BackboneFactory.create(backbone, input_shape=(size, size, 3)), tk.ClassifierHead(data.num_classes)
    )
    trainer = tk.Trainer(model, seed=seed, **OPTIMIZERS.get(recipe, {}))
    trainer.fit(data, verbose=0)
    head, started = trainer.evaluate(data.test).accuracy, time.perf_counter()
    with decisions(trainer, data) as found:
        trainer.fine_tune(data, verbose=0, **RECIPES.get(recipe, {}))
    seconds = time.perf_counter() - started
    accuracy = trainer.evaluate(data.test).accuracy
    keras.backend.clear_session()
    return {"head": round(head, 4), "accuracy": round(accuracy, 4), "seconds": round(seconds, 1), **found}


def load_data(sets: tuple[Examples, Examples], seed: int) -> Data:
    """Return the data with a fifth of the training images for validation."""
    (images, labels), test = sets
    chosen = validation_rows(labels, seed)
    return tk.DatasetBuilder(
        (images[~chosen], labels[~chosen]),
        validation=(images[chosen], labels[chosen]),
        test=test,
        image_size=images.shape[1],
        batch_size=32,
    ).build()


@contextlib.contextmanager
def decisions(trainer: tk.Trainer, data: Data) -> Iterator[dict[str, float]]:
    """Yield what the trainer compares: test accuracy of the fine-tuned weights, gain in loss and its standard error."""
    found: dict[str, float] = {}
    keep = trainer_module.keep_improvement

    def record(runner: Any, data: Data, start: Any) -> None:
        gain = start.losses - validation_losses(runner, data)
        found["gain"] = round(float(gain.mean()), 4)
        found["error"] = round(float(gain.std(ddof=1) / np.sqrt(len(gain))), 4)
        found["tuned"] = round(trainer.evaluate(data.test).accuracy, 4)
        keep(runner, data, start)

    trainer_module.keep_improvement = record
    try:
        yield found
    finally:
        trainer_module.keep_improvement = keep


def validation_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a mask of a fifth of the images of each class."""
    generator, mask = np.random.default_rng(seed + 100), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        mask[rows[: max(1, len(rows) // 5)]] = True
    return mask


def examples(name: str, count: int, seed: int, folder: Path) -> tuple[Examples, Examples]:
    """Return (images, labels) for training, `count` per class, and for testing."""
    if name == "characters":
        return render(draw_character, len(CHARACTERS), count, seed + 1), render(
            draw_character, len(CHARACTERS), 10, 999
        )
    if name == "textures":
        return render(draw_texture, TEXTURES, count, seed + 1), render(draw_texture, TEXTURES, 40, 999)
    return photos(count, seed, folder)


def photos(count: int, seed: int, folder: Path, size: int = 160) -> tuple[Examples, Examples]:
    """Return `count` photos per class of the first 300, and the others with those of validation/."""
    generator = np.random.default_rng(seed)
    training: list[tuple[Path, int]] = []
    test: list[tuple[Path, int]] = []
    for label, kind in enumerate(("cats", "dogs")):
        files = sorted((folder / "train" / kind).iterdir())
        training += [(files[row], label) for row in generator.permutation(300)[:count]]
        test += [(file, label) for file in [*files[300:], *sorted((folder / "validation" / kind).iterdir())]]
    spec = tk.ImageSpec((size, size))
    loaded = [
        (np.stack([load_image(str(file), spec) for file, _ in part]), np.array([label for _, label in part]))
        for part in (training, test)
    ]
    return loaded[0], loaded[1]


def render(draw: Callable[[int, np.random.Generator], np.ndarray], classes: int, count: int, seed: int) -> Examples:
    """Return `count` images of each class."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), count)
    images = [draw(int(label), generator) for label in labels]
    return np.clip(np.stack(images), 0, 255).astype("uint8"), labels.astype("int32")


def draw_character(label: int, generator: np.random.Generator, size: int = 96) -> np.ndarray:
    """Return a rotated character in one of several fonts, in random colors, with noise."""
    fonts = sorted((Path(matplotlib.__file__).parent / "mpl-data" / "fonts" / "ttf").glob("DejaVuS*.ttf"))
    fonts = [font for font in fonts if "Display" not in font.name]
    background = generator.integers(0, 256, 3)
    color = (background + generator.integers(90, 166, 3)) % 256
    image = Image.new("RGB", (size, size), tuple(background.tolist()))
    font = ImageFont.truetype(str(fonts[generator.integers(len(fonts))]), int(size * generator.uniform(0.35, 0.7)))
    place = (size * generator.uniform(0.3, 0.7), size * generator.uniform(0.3, 0.7))
    ImageDraw.Draw(image).text(place, CHARACTERS[label], font=font, fill=tuple(color.tolist()), anchor="mm")
    angle = generator.uniform(-25, 25)
    image = image.rotate(angle, resample=Image.Resampling.BILINEAR, fillcolor=tuple(background.tolist()))
    return np.asarray(image, float) + generator.normal(0, 35, (size, size, 3))


def draw_texture(label: int, generator: np.random.Generator, size: int = 96) -> np.ndarray:
    """Return noise of waves around one of four directions and two spacings."""
    rows, columns = np.mgrid[:size, :size]
    angle = np.pi * (label % 4) / 4 + generator.normal(0, 0.12)
    frequency = (0.16 if label < 4 else 0.21) * generator.uniform(0.94, 1.06)
    waves = np.zeros((size, size))
    for _ in range(24):
        direction, spacing = angle + generator.normal(0, 0.25), frequency * generator.uniform(0.85, 1.15)
        phase = columns * np.cos(direction) + rows * np.sin(direction)
        waves += np.cos(2 * np.pi * spacing * phase + generator.uniform(0, 2 * np.pi))
    waves *= generator.uniform(12, 30) / waves.std()
    colors = generator.integers(80, 176, 3) + waves[..., None] * generator.uniform(0.6, 1, 3)
    return colors + generator.normal(0, 18, (size, size, 3))


if __name__ == "__main__":
    main()
