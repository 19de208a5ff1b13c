"""Predict with other ways of resizing than the one of the training: labels that change, largest difference.

    python benchmarks/resizing.py --data IMAGES [--size 160]

IMAGES is a folder with train/ and validation/, each with one folder per class. EfficientNet-Lite0 with ImageNet weights
is trained on photos as `load_image` makes them, and predicts those of validation/ resized by NumPy, Pillow and, where
it is installed, OpenCV. JPEG files are decoded in the same way each time.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image, ImageOps

import transferkit as tk
from transferkit.images import numpy_decoder

Resize = Callable[[Image.Image], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    predictor = train(options.data, options.size)
    paths = sorted(path for path in (options.data / "validation").rglob("*") if path.is_file())
    expected = probabilities(predictor, paths)
    print(f"{len(paths)} photos, {options.size} pixels\n\n| resizing | labels changed | largest difference |")
    print("| --- | --- | --- |")
    results = {}
    for name, resize in ways(predictor.image_spec).items():
        images = [resize(open_image(path, predictor.image_spec)) for path in paths]
        found = probabilities(predictor, images)
        changed = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
        results[name] = {"changed": changed, "difference": float(np.abs(found - expected).max())}
        print(f"| {name} | {changed} | {results[name]['difference']:.2g} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


def train(data: Path, size: int) -> tk.Predictor:
    """Return EfficientNet-Lite0 with a trained head, run by Keras."""
    photos = tk.DatasetBuilder(data / "train", image_size=size, progress=False).build()
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(size, size, 3), weights="imagenet")
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)), engine="keras")
    trainer.fit(photos, epochs=5, verbose=0)
    return trainer.predictor()


def probabilities(predictor: tk.Predictor, images: Any) -> np.ndarray:
    return np.stack([one.probability_array for one in predictor.predict(images)])


def open_image(path: Path, spec: tk.ImageSpec) -> Image.Image:
    """Return an upright photo, decoded at the scale of the training."""
    image = Image.open(path)
    scale = spec.jpeg_scale_denominator(min(image.size))
    image.draft("RGB", (max(1, image.width // scale), max(1, image.height // scale)))
    return ImageOps.exif_transpose(image).convert("RGB")


def ways(spec: tk.ImageSpec) -> dict[str, Resize]:
    """Return a dict from the name of a way of resizing to its function."""
    size = spec.image_size[::-1]

    def by_numpy(image: Image.Image) -> np.ndarray:
        return numpy_decoder.resize_array(np.asarray(image), spec)

    def by_pillow(filter: Image.Resampling) -> Resize:
        return lambda image: np.asarray(image.resize(size, filter))

    found: dict[str, Resize] = {
        "NumPy, as in training": by_numpy,
        "Pillow, NEAREST": by_pillow(Image.Resampling.NEAREST),
        "Pillow, BILINEAR": by_pillow(Image.Resampling.BILINEAR),
        "Pillow, BICUBIC": by_pillow(Image.Resampling.BICUBIC),
        "Pillow, LANCZOS": by_pillow(Image.Resampling.LANCZOS),
    }
    try:
        import cv2
    except ImportError:
        return found

    def by_opencv(code: int) -> Resize:
        return lambda image: cv2.resize(np.asarray(image), size, interpolation=code)

    for name in ("INTER_LINEAR", "INTER_LINEAR_EXACT", "INTER_CUBIC", "INTER_AREA"):
        found[f"OpenCV, {name}"] = by_opencv(getattr(cv2, name))
    return found


if __name__ == "__main__":
    main()
