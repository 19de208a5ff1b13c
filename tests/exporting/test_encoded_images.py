"""The SavedModel that decodes files: the same pixels as `load_image`, and the probabilities of `Predictor.predict`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import transferkit as tk
from tests.exporting.test_export_model import keras_probabilities
from transferkit.exporting.encoded_images import decode_image
from transferkit.images.loading import load_image
from transferkit.images.spec import ImageSpec


def make_file(size: tuple[int, int], mode: str = "RGB", *, orientation: int | None = None, **options: Any) -> bytes:
    """Return a JPEG or PNG file of a smooth image with noise."""
    generator = np.random.default_rng(sum(size))
    channels = len(Image.new(mode, (1, 1)).getbands())
    coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 4), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse)[..., :channels] // 2 + generator.integers(0, 128, (*size[::-1], channels), np.uint8)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode=mode)
    buffer = io.BytesIO()
    if orientation is not None:
        exif = Image.Exif()
        exif[0x010E], exif[0x0112] = "a description before the orientation", orientation
        options["exif"] = exif
    image.save(buffer, **{"format": "JPEG", "quality": 90, **options})
    return buffer.getvalue()


def check_equal(content: bytes, spec: ImageSpec) -> None:
    np.testing.assert_array_equal(decode_image(tf.constant(content), spec).numpy(), load_image(content, spec))


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(orientation: int, resize: str) -> None:
    check_equal(make_file((75, 41), orientation=orientation), ImageSpec((24, 32), resize=resize))


def test_orientations_of_other_byte_order() -> None:
    little = make_file((40, 30), orientation=6)
    assert b"Exif\0\0II" in little or b"Exif\0\0MM" in little
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    if b"Exif\0\0MM" in little:
        exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    image, buffer = Image.open(io.BytesIO(little)), io.BytesIO()
    image.save(buffer, "JPEG", exif=b"Exif\0\0" + exif)
    assert Image.open(io.BytesIO(buffer.getvalue())).getexif()[0x0112] == 6
    check_equal(buffer.getvalue(), ImageSpec((16, 16)))


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"MM",
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\xff\xff\xff\x7f\x01\0",
        b"MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03\0\0\0\x01",
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0",
    ],
)
def test_damaged_exif_is_upright(exif: bytes) -> None:
    plain = make_file((40, 30))
    segment = b"Exif\0\0" + exif
    content = plain[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + plain[2:]
    image = decode_image(tf.constant(content), ImageSpec((16, 16))).numpy()
    np.testing.assert_array_equal(image, load_image(plain, ImageSpec((16, 16))))


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    image_size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    resize=st.sampled_from(["stretch", "crop", "pad"]),
    crop_fraction=st.floats(0.3, 1.0),
    orientation=st.integers(1, 8),
)
# Decoded at an eighth, at a quarter and at half of the size.
@example(size=(300, 270), image_size=(16, 16), resize="stretch", crop_fraction=1.0, orientation=1)
@example(size=(300, 150), image_size=(16, 16), resize="crop", crop_fraction=0.875, orientation=6)
@example(size=(127, 300), image_size=(16, 31), resize="pad", crop_fraction=1.0, orientation=8)
def test_sizes(size: Any, image_size: Any, resize: str, crop_fraction: float, orientation: int) -> None:
    fraction = crop_fraction if resize == "crop" else 1.0
    spec = ImageSpec(image_size, resize=resize, crop_fraction=fraction)
    check_equal(make_file(size, orientation=orientation), spec)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos3"])
def test_interpolations(interpolation: str, antialias: bool) -> None:
    spec = ImageSpec((20, 28), interpolation=interpolation, antialias=antialias, full_decode=True)
    check_equal(make_file((200, 120)), spec)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"format": "PNG"}])
def test_modes(options: dict[str, Any], mode: str) -> None:
    check_equal(make_file((90, 70), mode, **options), ImageSpec((32, 32)))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_png_is_on_white(mode: str) -> None:
    check_equal(make_file((90, 70), mode, format="PNG"), ImageSpec((32, 32)))


def test_alpha_of_zero_everywhere_is_ignored() -> None:
    pixels = np.full((8, 8, 4), (10, 20, 30, 0), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    image = decode_image(tf.constant(buffer.getvalue()), ImageSpec((2, 2))).numpy()
    assert image.tolist() == [[[10, 20, 30]] * 2] * 2


def test_signature_of_saved_model(predictor: tk.Predictor, tmp_path: Path) -> None:
    files = [make_file((40 + 9 * index, 90 - 7 * index), orientation=index + 1) for index in range(7)]
    tk.export(predictor, tmp_path / "model", format="saved_model", encoded_images=True, features=True)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    outputs = loaded.signatures["encoded"](encoded=tf.constant(files))
    images = np.stack([load_image(content, predictor.image_spec) for content in files])
    np.testing.assert_allclose(outputs["probabilities"], keras_probabilities(predictor, images), atol=1e-5)
    np.testing.assert_allclose(outputs["features"], predictor.embed(images), rtol=1e-4, atol=1e-3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded.signatures["encoded"](encoded=tf.constant([b"<html></html>"]))


def test_photos(photos: Path) -> None:
    for path in sorted((photos / "validation").rglob("*.jpg"))[::10]:
        check_equal(path.read_bytes(), ImageSpec((96, 96)))
