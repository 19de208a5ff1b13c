"""The path without TensorFlow: the same pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow  # noqa: F401

from tests.images.image_corpus import image_corpus
from transferkit.images import ImageSpec, load_image, loading, read_image
from transferkit.images.numpy_decoder import resize_array


@pytest.fixture
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where TensorFlow is not imported, both sides of a comparison would be decoded by NumPy.
    assert "tensorflow" in sys.modules
    monkeypatch.setattr(loading, "_tf_decoder", lambda *arguments, **options: None)


SPECS = [
    ImageSpec((160, 160)),
    ImageSpec((37, 53), resize="crop", crop_fraction=0.875),
    ImageSpec((96, 64), resize="pad"),
    ImageSpec((24, 24)),
]


@pytest.mark.parametrize("spec", SPECS, ids=["stretch", "crop", "pad", "reduced"])
def test_load_image_without_tensorflow_is_equal_on_photos(
    photos: Path, spec: ImageSpec, request: pytest.FixtureRequest
) -> None:
    paths = sorted(photos.glob("validation/*/*.jpg"))[::4]
    expected = [load_image(path, spec) for path in paths]
    request.getfixturevalue("without_tensorflow")
    for path, image in zip(paths, expected):
        assert np.array_equal(load_image(path, spec), image), path.name


@pytest.mark.parametrize("name", [name for name, file in image_corpus().items() if file.shows is not None])
def test_read_image_without_tensorflow_is_equal(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path, spec = image_corpus()[name].put(tmp_path), ImageSpec((20, 24))
    expected = read_image(path), load_image(path, spec)
    request.getfixturevalue("without_tensorflow")
    assert np.array_equal(read_image(path), expected[0]) and np.array_equal(load_image(path, spec), expected[1])


def test_images_without_tensorflow_are_contiguous(tmp_path: Path, without_tensorflow: None) -> None:
    path = image_corpus()["JPEG of orientation 6"].put(tmp_path)
    assert load_image(path, ImageSpec((20, 24))).flags.c_contiguous and read_image(path).flags.c_contiguous


def test_load_image_without_tensorflow_refuses_other_interpolation(without_tensorflow: None) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="`interpolation` must be 'bilinear' without antialias.*Received: 'bicubic'"):
        load_image(image, ImageSpec((2, 2), interpolation="bicubic"))


def test_resize_array_enlarges_floats_like_tensorflow() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (13, 7, 3)).astype(np.float32)
    assert np.array_equal(resize_array(image, ImageSpec((40, 50))), load_image(image, ImageSpec((40, 50))))
