"""Whether heat maps are on the object, for the smallest backbone of each family.

    python benchmarks/heat_maps.py [--families MobileNetV2 ResNet] [--seconds 80] [--size 160] [--json out.json]

An image (160 pixels) has one square of half its side at a random place, 25 % of the area, before a noisy background of
a random color; the color and texture of the square are the class, one of four. Backbones with random weights are
trained on parts of such images, 64 or 80 pixels, with and without a part of the square, until the accuracy on others
reaches 0.97, or for --seconds of CPU time after the first 512 images; EfficientNetLite0 also starts from ImageNet
weights. A linear head is fitted on 200 whole images. Then, on new images that are classified correctly: how often the
maximum of the heat map is on the object, or within half a cell (a tenth of the side) of it; and the areas under the
insertion and deletion curves of Grad-CAM, and of random maps with as many positions.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TRANSFERKIT_HOME", tempfile.mkdtemp())

import keras
import numpy as np

import transferkit as tk
from transferkit.engines.portable_operations import portable_operations
from transferkit.explanation.attribution import to_heatmaps
from transferkit.features.linear_probe import fit_linear_probe
from transferkit.modeling.keras_graph import all_layers

SIZE, OBJECT, TOLERANCE = 160, 80, 16
CLASSES = ("red", "green", "blue", "yellow")
COLORS = np.array([(220, 40, 40), (40, 200, 60), (50, 70, 230), (230, 210, 40)], np.float32)
# The smallest member of each family of the catalogue.
FAMILIES = {
    "MobileNetV2": "MobileNetV2",
    "MobileNet": "MobileNet",
    "MobileNetV3": "MobileNetV3Small",
    "EfficientNetLite": "EfficientNetLite0",
    "EfficientNetLite, ImageNet": "EfficientNetLite0",
    "EfficientNet": "EfficientNetB0",
    "EfficientNetV2": "EfficientNetV2B0",
    "ResNet": "ResNet50",
    "ResNetV2": "ResNet50V2",
    "DenseNet": "DenseNet121",
    "NASNet": "NASNetMobile",
    "Inception": "InceptionV3",
    "Xception": "Xception",
    "VGG": "VGG16",
    "ConvNeXt": "ConvNeXtTiny",
    "InceptionResNet": "InceptionResNetV2",
}
# Without batch normalization a larger rate diverges.
LEARNING_RATES = {"VGG": 5e-5, "ConvNeXt": 3e-4}
# Smaller images are not possible.
PART_SIZES = {"Inception": 80, "InceptionResNet": 80, "Xception": 80}
TRAINING_IMAGES, IMAGES, FEW_IMAGES, FEWEST_IMAGES = 200, 60, 12, 6
SLOW = ("VGG", "InceptionResNet", "ConvNeXt", "Xception")
METHODS = ("grad_cam", "grad_cam++", "hires_cam", "layer_cam", "occlusion")
BACKGROUND = len(CLASSES)


def main() -> None:
    """Train and measure each family and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--seconds", type=float, default=80, help="CPU seconds of training after the first 512 images")
    parser.add_argument("--size", type=int, default=SIZE, help="side of the images in pixels")
    parser.add_argument("--data", help="not used: the images are synthetic")
    parser.add_argument("--json", help="output file for the results")
    options = parser.parse_args()
    set_size(options.size)
    rows: list[dict[str, object]] = []
    for family in options.families:
        rows.append(measure(family, options.seconds))
        if len(rows) == 1:
            print(f"| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}")
        print(f"| {' | '.join(map(str, rows[-1].values()))} |", flush=True)
        if options.json:
            Path(options.json).write_text(json.dumps(rows, indent=2))
        keras.backend.clear_session()


def set_size(size: int) -> None:
    """Set the side of the images, and with it that of the objects."""
    global SIZE, OBJECT, TOLERANCE
    SIZE, OBJECT, TOLERANCE = size, size // 2, size // 10


def measure(family: str, seconds: float) -> dict[str, object]:
    """Return a row of the table."""
    started = time.process_time()
    model = train_head(train_backbone(family, seconds))
    predictor = tk.Predictor(model, CLASSES, tk.ImageSpec((SIZE, SIZE)), activation="softmax")
    images, labels, corners = draw(2 * IMAGES, seed=1)
    predicted = model.predict(images.astype("float32"), verbose=0).argmax(axis=1)
    correct = np.flatnonzero(predicted == labels)[:IMAGES]
    few = correct[: FEWEST_IMAGES if family in SLOW else FEW_IMAGES]
    row: dict[str, object] = {"family": family, "map": "", "accuracy": f"{np.mean(predicted == labels):.2f}"}
    for name in METHODS:
        method = tk.explanation.Occlusion(patch_size=40, stride=20) if name == "occlusion" else name
        chosen = few if name == "occlusion" else correct
        explanations = tk.explain(predictor, images[chosen], method)
        row[name] = hit_rates(explanations, corners[chosen])
        if name == "grad_cam":
            maps = explanations[: len(few)]
            row["map"] = "x".join(map(str, maps[0].values.shape))
    row["random map"] = hit_rates(random_maps(maps * 40), np.concatenate([corners[few]] * 40))
    row |= faithfulness_of(predictor, maps)
    return {**row, "CPU seconds": round(time.process_time() - started)}


def train_backbone(family: str, seconds: float) -> tk.backbones.Backbone:
    """Return a backbone for whole images."""
    keras.utils.set_random_seed(0)
    if family.endswith("ImageNet"):
        return tk.BackboneFactory.create(FAMILIES[family], input_shape=(SIZE, SIZE, 3))
    side = PART_SIZES.get(family, 64)
    backbone = tk.BackboneFactory.create(FAMILIES[family], input_shape=(side, side, 3), weights=None)
    backbone.unfreeze(batch_norm=True)
    model = tk.build_classifier(backbone, tk.ClassifierHead(len(CLASSES) + 1, dropout=0))
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            # The training is too short for the slow averages of the catalogue.
            layer.momentum = 0.9
    optimizer = keras.optimizers.Adam(LEARNING_RATES.get(family, 1e-3), clipnorm=1.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    with portable_operations(model) if family == "ConvNeXt" else contextlib.nullcontext():
        fit(model, side, seconds)
    whole = tk.BackboneFactory.create(FAMILIES[family], input_shape=(SIZE, SIZE, 3), weights=None)
    whole.model.set_weights(backbone.model.get_weights())
    return whole


def fit(model: keras.Model, side: int, seconds: float) -> None:
    """Train a model on parts of images, others in each epoch."""
    held_out = draw_parts(128, side, seed=2)
    model.fit(*draw_parts(512, side, seed=100), batch_size=16, verbose=0)
    started, epoch = time.process_time(), 1
    while model.evaluate(*held_out, verbose=0)[1] < 0.97 and time.process_time() - started < seconds:
        model.fit(*draw_parts(256, side, seed=100 + epoch), batch_size=16, verbose=0)
        epoch += 1


def train_head(backbone: tk.backbones.Backbone) -> keras.Model:
    """Return a classifier of whole images with a fitted head."""
    images, labels, _ = draw(TRAINING_IMAGES, seed=3)
    model = tk.build_classifier(backbone, tk.ClassifierHead(len(CLASSES), dropout=0))
    probe = fit_linear_probe(backbone.features(images), labels, len(CLASSES), l2=0.1)
    logits = model.get_layer("logits")
    logits.kernel.assign(probe.kernel)
    logits.bias.assign(probe.bias)
    return model


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images uint8, labels and the top left corners (row, column) of the objects."""
    random = np.random.default_rng(seed)
    labels, corners = random.integers(0, len(CLASSES), count), random.integers(0, SIZE - OBJECT + 1, (count, 2))
    colors = random.uniform(60, 190, (count, 1, 1, 1)) + random.normal(0, 12, (count, 1, 1, 3))
    images = colors + random.normal(0, 25, (count, SIZE, SIZE, 3))
    for image, label, (top, left) in zip(images, labels, corners):
        pattern = texture(label, random)[..., None]
        image[top : top + OBJECT, left : left + OBJECT] = COLORS[label] * (0.35 + 0.65 * pattern)
    images += random.normal(0, 10, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int32), corners


def draw_parts(count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return square parts of images, float32, and their labels; a fifth of them, where possible, are background."""
    random = np.random.default_rng(seed)
    images, labels, corners = draw(count, seed)
    parts = []
    for index, (image, corner) in enumerate(zip(images, corners)):
        places = random.integers(0, SIZE - side + 1, (50, 2))
        outside = places[np.any((places >= corner + OBJECT) | (places + side <= corner), axis=1)]
        if random.uniform() < 0.2 and len(outside):
            place, labels[index] = outside[0], BACKGROUND
        else:
            offset = random.integers(-side // 2, OBJECT - side // 2 + 1, 2)
            place = np.clip(corner + offset, 0, SIZE - side)
        parts.append(image[place[0] : place[0] + side, place[1] : place[1] + side])
    return np.stack(parts).astype(np.float32), labels


def texture(label: int, random: np.random.Generator) -> np.ndarray:
    """Return horizontal stripes, vertical stripes, a checkerboard or dots, with a random phase, in [0, 1]."""
    rows, columns = np.mgrid[:OBJECT, :OBJECT] + random.integers(0, 8, (2, 1, 1))
    stripes = (rows // 4 % 2, columns // 4 % 2, (rows // 6 + columns // 6) % 2)
    return stripes[label] if label < 3 else ((rows % 8 - 4) ** 2 + (columns % 8 - 4) ** 2 < 9).astype(int)


def hit_rates(explanations: Sequence[tk.Explanation], corners: np.ndarray) -> str:
    """Return how often the maximum is on the object, and within half a cell; a map of zeros is not."""
    rates = []
    for tolerance in (0, TOLERANCE):
        hits = [
            one.peak is not None and np.all((one.peak >= corner - tolerance) & (one.peak < corner + OBJECT + tolerance))
            for one, corner in zip(explanations, corners)
        ]
        rates.append(f"{np.mean(hits):.2f}")
    return " / ".join(rates)


def random_maps(explanations: Sequence[tk.Explanation]) -> list[tk.Explanation]:
    """Return explanations with random values at the positions of the feature map."""
    random = np.random.default_rng(0)
    values = random.uniform(size=(len(explanations), *explanations[0].values.shape))
    heatmaps = to_heatmaps(values, (SIZE, SIZE))
    return [dataclasses.replace(one, heatmap=heatmap) for one, heatmap in zip(explanations, heatmaps)]


def faithfulness_of(predictor: tk.Predictor, explanations: list[tk.Explanation]) -> dict[str, str]:
    """Return the areas of explanations and of random maps with the same number of positions."""
    measured = [
        tk.explanation.faithfulness(predictor, one, steps=10) for one in (explanations, random_maps(explanations))
    ]
    return {
        f"{kind}, random": " / ".join(f"{getattr(result, f'{kind}_area'):.2f}" for result in measured)
        for kind in ("insertion", "deletion")
    }


if __name__ == "__main__":
    main()
