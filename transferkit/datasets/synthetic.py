"""Synthetic images of cats and dogs, for machines without a network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from transferkit._utils.checks import check_int
from transferkit._utils.files import atomic_folder

_CLASSES = ("cats", "dogs")
_COATS = ((70, 60, 55), (150, 105, 65), (205, 165, 115), (225, 215, 200), (120, 120, 125), (190, 120, 60), (45, 45, 50))
# Images are rendered at twice their size and reduced, which smooths the edges.
_SCALE = 2
# A color, and two corners of an ellipse or the points of a polygon.
Shape = tuple[Any, list[tuple[float, float]]]


def synthetic_cats_and_dogs(
    folder: str | os.PathLike[str], *, training: int = 300, validation: int = 100, size: int = 180, seed: int = 0
) -> Path:
    """Write synthetic JPEG images of cats and dogs to train/ and validation/, each with cats/ and dogs/.

    The same arguments produce the same bytes. A folder that is not empty is left unchanged.

    Args:
        folder: path of the folder.
        training: int >= 2. Number of images in train/, half of each class. Defaults to 300.
        validation: int >= 2. Number of images in validation/, half of each class. Defaults to 100.
        size: int >= 32. Side of the images in pixels. Defaults to 180.
        seed: int >= 0. Defaults to 0.

    Returns:
        The path of the folder.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> folder = tk.datasets.synthetic_cats_and_dogs("synthetic", training=20, validation=10)  # doctest: +SKIP
    """
    check_int("training", training, minimum=2)
    check_int("validation", validation, minimum=2)
    check_int("size", size, minimum=32)
    check_int("seed", seed, minimum=0)
    target = Path(folder)
    if target.is_dir() and any(target.iterdir()):
        return target
    with atomic_folder(target) as staging:
        for split_index, (split, count) in enumerate((("train", training), ("validation", validation))):
            for index in range(count):
                name = _CLASSES[index % 2]
                path = staging / split / name / f"{name[:-1]}.{index // 2}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                generator = np.random.default_rng([seed, split_index, index])
                synthetic_animal(name[:-1], size, generator).save(path, quality=88)
    return target


def synthetic_animal(kind: str, size: int, generator: np.random.Generator) -> Image.Image:
    """Return an RGB image of a "cat" or "dog", `size` pixels square, with random properties of `generator`."""
    side = size * _SCALE
    sky, ground = generator.uniform(40, 230, (2, 3))
    gradient = np.linspace(sky, ground, side)[:, None].repeat(side, axis=1)
    image = Image.fromarray(gradient.astype(np.uint8))
    for _ in range(int(generator.integers(2, 9))):
        position, extent = generator.uniform(0, side, 2), generator.uniform(0.02, 0.2, 2) * side
        _draw(image, _oval(*position, *extent), generator.uniform(30, 240, 3))
    animal = Image.new("RGBA", (side, side))
    center, radius = generator.uniform(0.36, 0.64, 2) * side, generator.uniform(0.2, 0.33) * side
    coat = _COATS[int(generator.integers(len(_COATS)))] + generator.uniform(-18, 18, 3)
    for color, points in (_cat if kind == "cat" else _dog)(coat, generator):
        _draw(animal, center + radius * np.array(points), color)
    animal = animal.rotate(float(generator.uniform(-25, 25)), Image.Resampling.BILINEAR)
    image.paste(animal, (0, 0), animal)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float64)
    light = generator.uniform(0.65, 1.25) * generator.uniform(0.9, 1.1, 3)
    noise = generator.normal(0, generator.uniform(2, 14), pixels.shape)
    return Image.fromarray(np.clip(pixels * light + noise, 0, 255).astype(np.uint8))


def _draw(image: Image.Image, points: Any, color: Any) -> None:
    """Draw an ellipse given by two corners, or a polygon given by more points."""
    canvas = ImageDraw.Draw(image)
    shape = canvas.ellipse if len(points) == 2 else canvas.polygon
    shape([tuple(map(float, point)) for point in points], fill=tuple(np.clip(color, 0, 255).astype(int).tolist()))


def _oval(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x - width, y - height), (x + width, y + height)]


def _cat(coat: Any, generator: np.random.Generator) -> Iterator[Shape]:
    """Yield colored shapes. The center of the head is (0, 0), its radius is 1, and y points down."""
    light, ear, eye = 0.5 * coat + 110, generator.uniform(1.25, 1.6), generator.uniform(0.15, 0.22)
    yield coat, _oval(0, 2, 1.1, 1.5)
    yield coat, _oval(0, 0, generator.uniform(0.92, 1.12), 0.88)
    for side in (-1, 1):
        yield coat, [(side * 0.95, -0.3), (side * 0.8, -ear), (side * 0.2, -0.75)]
        yield light, [(side * 0.8, -0.4), (side * 0.75, -0.75 * ear), (side * 0.35, -0.7)]
        yield (120, 170, 70), _oval(side * 0.42, -0.15, eye, eye)
        yield (10, 10, 10), _oval(side * 0.42, -0.15, 0.3 * eye, 0.9 * eye)
        for y in (0.26, 0.4, 0.54):
            yield (235, 235, 235), [(side * 0.15, 0.38), (side * 1.15, y), (side * 1.15, y + 0.03)]
    yield light, _oval(0, 0.38, 0.34, 0.24)
    yield (205, 125, 125), [(-0.1, 0.24), (0.1, 0.24), (0, 0.36)]


def _dog(coat: Any, generator: np.random.Generator) -> Iterator[Shape]:
    """Yield colored shapes; coordinates as for `_cat`."""
    muzzle, eye = generator.uniform(0.42, 0.6), generator.uniform(0.11, 0.16)
    # Some dogs have upright ears, so that the ears alone do not determine the class.
    ear_y = -0.75 if generator.random() < 0.15 else 0.1
    yield coat, _oval(0, 2, 1, 1.5)
    yield coat, _oval(0, 0, generator.uniform(0.78, 1), 1.06)
    for side in (-1, 1):
        yield 0.65 * coat, _oval(side * 0.85, ear_y, 0.28, generator.uniform(0.6, 0.85))
        yield (85, 55, 35), _oval(side * 0.37, -0.15, eye, eye)
        yield (10, 10, 10), _oval(side * 0.37, -0.15, 0.6 * eye, 0.6 * eye)
    yield 0.5 * coat + 110, _oval(0, 0.5, 0.4, muzzle)
    yield (25, 22, 22), _oval(0, 0.32, 0.2, 0.14)
    if generator.random() < 0.5:
        yield (215, 105, 115), _oval(0, 0.5 + 0.8 * muzzle, 0.16, 0.28)
