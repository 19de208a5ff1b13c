"""A drawn sample of cats and dogs, for machines without a network: true images, made of nothing but a seed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from transferkit._utils.checks import check_int
from transferkit._utils.files import atomic_folder

_CLASSES = ("cats", "dogs")
_COATS = ((70, 60, 55), (150, 105, 65), (205, 165, 115), (225, 215, 200), (120, 120, 125), (190, 120, 60), (45, 45, 50))
# Drawn large and then made smaller, the edges come out smooth.
_SCALE = 2


def synthetic_cats_and_dogs(
    folder: str | os.PathLike[str], *, training: int = 300, validation: int = 100, size: int = 180, seed: int = 0
) -> Path:
    """Draw a sample of cats and dogs into train/ and validation/, each with cats/ and dogs/.

    Ears, muzzle, coat, pose, background, light and noise vary; the same arguments give the same files, byte for byte.
    A folder that is there already is left as it is.

    Args:
        folder: where to.
        training: images in train/, half of each class, at least 2.
        validation: images in validation/, half of each class, at least 2.
        size: side of the images in pixels, at least 32.
        seed: integer of at least 0.

    Returns:
        The folder.

    Example:

    >>> folder = synthetic_cats_and_dogs("drawn", training=20, validation=10)  # doctest: +SKIP
    """
    check_int("training", training, minimum=2)
    check_int("validation", validation, minimum=2)
    check_int("size", size, minimum=32)
    check_int("seed", seed, minimum=0)
    target = Path(folder)
    if target.is_dir() and any(target.iterdir()):
        return target
    with atomic_folder(target) as fresh:
        for part, (split, count) in enumerate((("train", training), ("validation", validation))):
            for index in range(count):
                name = _CLASSES[index % 2]
                path = fresh / split / name / f"{name[:-1]}.{index // 2}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                generator = np.random.default_rng([seed, part, index])
                synthetic_animal(name[:-1], size, generator).save(path, quality=88)
    return target


def synthetic_animal(kind: str, size: int, generator: np.random.Generator) -> Image.Image:
    """Return one drawn picture, RGB, `size` pixels a side.

    Args:
        kind: "cat" or "dog".
        size: in pixels.
        generator: where all that varies comes from.
    """
    side = size * _SCALE
    image = _background(side, generator)
    animal = Image.new("RGBA", (side, side))
    _draw_head(ImageDraw.Draw(animal), kind, side, generator)
    animal = animal.rotate(float(generator.uniform(-25, 25)), Image.Resampling.BILINEAR)
    image.paste(animal, (0, 0), animal)
    if generator.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.5, 2.5))))
    return _add_camera_effects(image.resize((size, size), Image.Resampling.BOX), generator)


def _background(side: int, generator: np.random.Generator) -> Image.Image:
    top, bottom = generator.uniform(40, 230, (2, 3))
    ramp = np.linspace(0, 1, side)[:, None, None]
    image = Image.fromarray(np.broadcast_to(top * (1 - ramp) + bottom * ramp, (side, side, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(generator.integers(2, 9))):
        x, y = generator.uniform(0, side, 2)
        width, height = generator.uniform(0.05, 0.4, 2) * side
        colour = tuple(int(value) for value in generator.uniform(30, 240, 3))
        shape = draw.ellipse if generator.random() < 0.5 else draw.rectangle
        shape((x, y, x + width, y + height), fill=colour)
    return image


def _draw_head(draw: ImageDraw.ImageDraw, kind: str, side: int, generator: np.random.Generator) -> None:
    coat = _varied(_COATS[int(generator.integers(len(_COATS)))], 18, generator)
    dark, light = _varied([0.65 * c for c in coat], 8, generator), _varied([0.5 * c + 110 for c in coat], 8, generator)
    radius = side * generator.uniform(0.2, 0.33)
    x, y = side * generator.uniform(0.36, 0.64, 2)
    width = radius * generator.uniform(0.92, 1.12) if kind == "cat" else radius * generator.uniform(0.78, 1.0)
    _ellipse(draw, x, y + 2.0 * radius, 1.1 * width, 1.5 * radius, coat)
    if kind == "cat":
        _ears_up(draw, x, y, width, radius, coat, light, generator)
    _ellipse(draw, x, y, width, radius * (0.88 if kind == "cat" else 1.06), coat)
    if generator.random() < 0.4:
        _ellipse(draw, x + width * generator.uniform(-0.5, 0.5), y - 0.3 * radius, 0.4 * width, 0.35 * radius, dark)
    if kind == "dog":
        _ears_down(draw, x, y, width, radius, dark, generator)
    _eyes(draw, kind, x, y, width, radius, generator)
    _muzzle(draw, kind, x, y, width, radius, light, generator)


def _ears_up(draw, x, y, width, radius, coat, inner, generator) -> None:  # type: ignore[no-untyped-def]
    tall = radius * generator.uniform(1.25, 1.6)
    for side in (-1, 1):
        for part, colour in ((1.0, coat), (0.55, inner)):
            outer, tip = x + side * width * 0.95 * (0.4 + 0.6 * part), x + side * width * generator.uniform(0.7, 0.85)
            draw.polygon(
                [(outer, y - 0.3 * radius), (tip, y - tall * part), (x + side * width * 0.2, y - 0.75 * radius)], colour
            )


def _ears_down(draw, x, y, width, radius, dark, generator) -> None:  # type: ignore[no-untyped-def]
    # A few dogs prick their ears, so that the ears alone do not tell.
    pricked = generator.random() < 0.15
    for side in (-1, 1):
        height = radius * generator.uniform(0.6, 0.85)
        middle = y - 0.75 * radius if pricked else y + 0.1 * radius
        _ellipse(draw, x + side * width * 0.95, middle, 0.28 * radius, height, dark)


def _eyes(draw, kind, x, y, width, radius, generator) -> None:  # type: ignore[no-untyped-def]
    iris = _varied((120, 170, 70) if kind == "cat" else (85, 55, 35), 30, generator)
    size = radius * generator.uniform(0.13, 0.19) * (1.15 if kind == "cat" else 0.85)
    for side in (-1, 1):
        at = x + side * width * 0.42, y - 0.15 * radius
        _ellipse(draw, *at, size, size, iris)
        _ellipse(
            draw, *at, size * (0.3 if kind == "cat" else 0.6), size * (0.9 if kind == "cat" else 0.6), (10, 10, 10)
        )


def _muzzle(draw, kind, x, y, width, radius, light, generator) -> None:  # type: ignore[no-untyped-def]
    if kind == "dog":
        long = radius * generator.uniform(0.42, 0.6)
        _ellipse(draw, x, y + 0.5 * radius, 0.42 * width, long, light)
        _ellipse(draw, x, y + 0.32 * radius, 0.2 * width, 0.14 * radius, (25, 22, 22))
        if generator.random() < 0.5:
            _ellipse(draw, x, y + 0.5 * radius + long * 0.8, 0.16 * width, 0.28 * radius, (215, 105, 115))
        return
    _ellipse(draw, x, y + 0.38 * radius, 0.34 * width, 0.24 * radius, light)
    nose = y + 0.24 * radius
    draw.polygon([(x - 0.1 * width, nose), (x + 0.1 * width, nose), (x, nose + 0.12 * radius)], (205, 125, 125))
    for side in (-1, 1):
        for slope in (-0.12, 0.02, 0.16):
            start = x + side * 0.15 * width, y + 0.38 * radius
            draw.line([start, (x + side * 1.15 * width, y + (0.38 + slope) * radius)], (235, 235, 235), 2)


def _add_camera_effects(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float64)
    size = len(pixels)
    light = generator.uniform(0.65, 1.25) + np.linspace(-1, 1, size)[None, :, None] * generator.uniform(-0.25, 0.25)
    cast = generator.uniform(0.9, 1.1, 3)
    noise = generator.normal(0, generator.uniform(2, 14), pixels.shape)
    return Image.fromarray(np.clip(pixels * light * cast + noise, 0, 255).astype(np.uint8))


def _ellipse(draw, x, y, width, height, colour) -> None:  # type: ignore[no-untyped-def]
    draw.ellipse((x - width, y - height, x + width, y + height), fill=tuple(colour))


def _varied(colour, amount: float, generator: np.random.Generator) -> tuple[int, int, int]:  # type: ignore[no-untyped-def]
    red, green, blue = (int(np.clip(c + generator.uniform(-amount, amount), 0, 255)) for c in colour)
    return red, green, blue
