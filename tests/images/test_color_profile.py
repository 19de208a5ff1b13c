"""Conversion to sRGB."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.images.image_corpus import encode, sample_image
from tests.images.profiles import DISPLAY_P3, PROPHOTO, in_srgb, matrix_profile, to_srgb
from transferkit.images import ImageSpec, load_image, read_image
from transferkit.images.color_profile import changes_colors, gamma_table, srgb_converter
from transferkit.images.header import read_header


@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        matrix_profile(None),
        b"",
        b"no profile",
        matrix_profile(None)[:200],
        matrix_profile(2.2, gray=True),
    ],
    ids=["lcms", "table", "none", "junk", "truncated", "gray"],
)
def test_changes_colors_of_srgb_or_unusable_profile_is_false(profile: bytes) -> None:
    assert not changes_colors(profile, "RGB")
    image = Image.fromarray(sample_image())
    for form, options in (("JPEG", {"quality": 95}), ("PNG", {})):
        with_profile = encode(image, form, icc_profile=profile or None, **options)
        # The fast decoder, and the same pixels to the bit.
        assert read_header(with_profile).tf_decodable
        assert np.array_equal(read_image(with_profile), read_image(encode(image, form, **options)))


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("primaries", [DISPLAY_P3, PROPHOTO], ids=["p3", "prophoto"])
def test_srgb_converter_equals_formula(gamma: float, primaries: tuple[tuple[float, ...], ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    convert = srgb_converter(matrix_profile(gamma, primaries), "RGB")
    assert convert is not None
    converted = np.asarray(convert(Image.fromarray(pixels)), int)
    assert np.abs(converted - in_srgb(pixels, gamma, primaries)).max() <= 2


def test_srgb_converter_of_gray_profile() -> None:
    convert = srgb_converter(matrix_profile(1.0, gray=True), "L")
    assert convert is not None
    levels = np.arange(256, dtype=np.uint8)[None]
    converted = np.asarray(convert(Image.fromarray(levels)), int)
    assert np.abs(converted - 255 * to_srgb(levels / 255)).max() <= 1.5


def test_gamma_table_by_hand() -> None:
    table = gamma_table(1.0)
    assert table is not None and table[[0, 1, 55, 128, 255]].tolist() == [0, 13, 128, 188, 255]
    assert gamma_table(0.45455) is None and gamma_table(None) is None and gamma_table(0) is None


def test_load_image_reduces_large_jpeg_with_profile() -> None:
    profile = matrix_profile(1.8, PROPHOTO)
    large = Image.fromarray(sample_image()).resize((640, 480), Image.Resampling.BICUBIC)
    data = encode(large, "JPEG", quality=95, icc_profile=profile)
    reduced = load_image(data, ImageSpec((24, 32)))
    exact = load_image(data, ImageSpec((24, 32), full_decode=True))
    assert not np.array_equal(reduced, exact) and np.abs(reduced.astype(int) - exact).mean() < 3
    plain = load_image(encode(large, "JPEG", quality=95), ImageSpec((24, 32)))
    assert np.abs(reduced.astype(int) - in_srgb(plain, 1.8, PROPHOTO)).mean() < 3
