"""Images in memory: shapes, types and ranges that are accepted, and what to do about the others."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.images.image_corpus import sample_image
from transferkit.errors import ImageError
from transferkit.images.loading import load_image
from transferkit.images.pixels import is_pixels, to_rgb_array, value_problem
from transferkit.images.spec import ImageSpec

SIZE = (8, 6)


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (noise(*SIZE, 3), True),
        (tf.zeros((*SIZE, 3)), True),
        (Image.new("L", SIZE), True),
        ("image.jpg", False),
        (np.str_("image.jpg"), False),
        (b"\xff\xd8", False),
        (3, False),
        (None, False),
    ],
)
def test_is_pixels_distinguishes_files(source, expected):
    assert is_pixels(source) is expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.int64, np.float16, np.float32, ">f8"])
def test_to_rgb_array_keeps_values_of_any_type(dtype):
    image = noise(*SIZE, 3)
    assert np.array_equal(to_rgb_array(image.astype(dtype)), image)


def test_to_rgb_array_reads_tensors_and_pillow_images():
    image = noise(*SIZE, 3)
    for source in (tf.constant(image), Image.fromarray(image)):
        assert np.array_equal(to_rgb_array(source), image)
    assert np.array_equal(to_rgb_array(Image.fromarray(image[..., 0])), np.stack([image[..., 0]] * 3, axis=-1))


def test_to_rgb_array_of_strided_array_is_equal():
    image = noise(16, 12, 3)
    assert np.array_equal(to_rgb_array(image[::2, ::-2]), image[::2, ::-2].copy())


def test_load_image_of_pillow_image_equals_its_pixels():
    spec = ImageSpec((20, 28))
    assert np.array_equal(load_image(Image.fromarray(sample_image()), spec), load_image(sample_image(), spec))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, *SIZE), r"Put the channels last \(channels_last\): np.moveaxis\(images, -3, -1\)"),
        ((*SIZE, 4), r"Remove the alpha channel: images\[..., :3\]"),
        (SIZE, r"Repeat the values of gray images: np.repeat\(images\[..., None\], 3, axis=-1\)"),
        ((*SIZE, 1), r"np.repeat\(images, 3, axis=-1\)"),
        ((*SIZE, 2), "must have the shape"),
        ((0, 6, 3), "must have the shape"),
        ((6,), "must have the shape"),
    ],
)
def test_to_rgb_array_refuses_shape(shape, message):
    with pytest.raises(ImageError, match=message):
        to_rgb_array(noise(*shape))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "NaN or infinite values in image 900"),
        (np.inf, "NaN or infinite values in image 900"),
        (-1.0, "values from -1 to 255 in image 900. Undo the scaling"),
        (256.0, "values from 255 to 256 in image 900. Scale them to 8 bits"),
    ],
)
def test_value_problem_checks_every_image(value, message):
    images = np.full((1000, 4, 4, 3), 255.0, np.float32)
    assert value_problem(images) is None
    images[900, 1, 2, 0] = value
    assert message in value_problem(images)


def test_value_problem_finds_images_scaled_to_one():
    scaled = noise(4, *SIZE, 3).astype(np.float32) / 255
    assert "values from 0 to 1 in all images. Multiply images in [0, 1] by 255" in value_problem((scaled > 0.5) * 1.0)
    mixed = np.concatenate([noise(4, *SIZE, 3), scaled])
    assert "in image 4. Multiply images in [0, 1] by 255" in value_problem(mixed)


def test_value_problem_accepts_dark_images():
    dark = np.zeros((3, *SIZE, 3), np.float32)
    assert value_problem(dark) is None
    dark[0] = 255
    dark[1, 0, 0, 0] = 1
    assert value_problem(dark) is None
    assert value_problem(np.ones((1, *SIZE, 3), np.uint8)) is None


@pytest.mark.parametrize("dtype", ["bool", "complex64", "U3", "O", "datetime64[s]"])
def test_value_problem_refuses_type(dtype):
    assert "Convert them to uint8" in value_problem(np.zeros((1, *SIZE, 3)).astype(dtype))
