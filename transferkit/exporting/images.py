"""The images on which an exported model is verified, and those from which its quantization is calibrated."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transferkit.data.examples import Split
from transferkit.data.inputs import expand, single_image
from transferkit.engines.verification import probe_images
from transferkit.errors import DataError, ImageError
from transferkit.images.loading import load_images
from transferkit.images.spec import ImageSpec

# Each of them is run once in float32; with 200, labels agree as docs/export.md shows.
MAX_CALIBRATION_IMAGES = 200
_NUM_SYNTHETIC_IMAGES = 16


@dataclasses.dataclass(frozen=True, eq=False)
class VerificationImages:
    """Images of the size of a classifier.

    Attributes:
        images: uint8 (n, height, width, 3).
        labels: (n,), or (n, classes) for independent labels; None where they are not known.
        are_synthetic: whether they were generated, because none were given.
    """

    images: np.ndarray
    labels: np.ndarray | None
    are_synthetic: bool


def verification_images(images: Any, calibration: np.ndarray | None, spec: ImageSpec) -> VerificationImages:
    """Return the images to verify on: those given, else those of the calibration, else synthetic ones.

    Args:
        images: anything that `Predictor.predict` accepts, or `Data`, for its test split or the validation split where
            there is none; None for none.
        calibration: uint8 (n, height, width, 3), or None.
        spec: how files become images.
    """
    if images is not None:
        loaded, labels = _load(images, spec, "images", ("test", "validation"))
        return VerificationImages(loaded, labels, False)
    if calibration is not None:
        return VerificationImages(calibration, None, False)
    return VerificationImages(probe_images((*spec.image_size, 3), _NUM_SYNTHETIC_IMAGES), None, True)


def calibration_images(images: Any, spec: ImageSpec, seed: int = 0) -> np.ndarray:
    """Return at most 200 of the images, chosen by the seed, uint8 (n, height, width, 3); of `Data` training images."""
    return _load(images, spec, "calibration", ("train",), (MAX_CALIBRATION_IMAGES, seed))[0]


def _load(
    images: Any, spec: ImageSpec, name: str, splits: tuple[str, ...], sample: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the images that can be read, and their labels; `sample` is the largest number of images and a seed."""
    split = _split_of(images, splits)
    labels = split.labels if split is not None and split.dataset is None else None
    given = images if split is None else split
    single = single_image(given)
    sources = list(expand(given)) if single is None else [single]
    chosen = np.arange(len(sources))
    if sample is not None and len(sources) > sample[0]:
        chosen = np.sort(np.random.default_rng(sample[1]).choice(len(sources), sample[0], replace=False))
    readable = [index for index in chosen if not isinstance(sources[index], ImageError)]
    loaded = load_images([sources[index] for index in readable], spec)
    pairs = [(index, image) for index, image in zip(readable, loaded) if not isinstance(image, ImageError)]
    if not pairs:
        raise DataError(f"`{name}` must have at least one image that can be read. Received: none. Check the files.")
    rows = [index for index, _ in pairs]
    return np.stack([image for _, image in pairs]), None if labels is None else labels[rows]


def _split_of(images: Any, names: tuple[str, ...]) -> Split | None:
    """Return the split that `images` is or has, or None."""
    splits = getattr(images, "splits", None)
    if isinstance(splits, dict):
        found = next((splits[name] for name in names if splits.get(name) is not None), None)
        if found is None:
            raise DataError(
                f"The data must have a {' or '.join(names)} split. Received: {sorted(splits)}. Give images of your own."
            )
        return found
    split = images if isinstance(images, Split) else getattr(images, "split", None)
    return split if isinstance(split, Split) else None
