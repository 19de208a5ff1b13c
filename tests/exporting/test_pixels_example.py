"""examples/consumers/python/pixels.py reads the same pixels as transferkit, to the bit."""

from __future__ import annotations

import importlib.util
import io
import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.images.profiles import DISPLAY_P3, PROPHOTO, SRGB, matrix_profile
from transferkit.images import load_image

FILE = Path(__file__).resolve().parents[2] / "examples" / "consumers" / "python" / "pixels.py"
# Colors differ from those of sRGB by three levels at most.
ALMOST_SRGB = tuple((1.0006 * x, y, z) for x, y, z in SRGB)
SIZES = [(1, 1), (3, 50), (31, 17), (64, 64), (127, 130), (129, 257), (260, 519), (521, 600), (1040, 1031)]
SPECS = {
    "stretch": tk.ImageSpec((64, 48)),
    "crop": tk.ImageSpec((48, 64), resize="crop", crop_fraction=0.875),
    "pad": tk.ImageSpec((56, 61), resize="pad"),
    "full decode": tk.ImageSpec((40, 40), full_decode=True),
}


@pytest.fixture(scope="module")
def pixels() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pixels", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_image(height: int, width: int, mode: str = "RGB") -> Image.Image:
    """Return an image with edges, gradients and noise."""
    rows, columns = np.mgrid[:height, :width]
    planes = np.stack([rows * 3, columns * 2, (rows // 8 + columns // 8) % 2 * 200], axis=-1) % 256
    noise = np.random.default_rng([height, width]).normal(0, 12, planes.shape)
    return Image.fromarray(np.clip(planes + noise, 0, 255).astype(np.uint8)).convert(mode)


def encode(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def assert_equal_pixels(pixels: ModuleType, content: bytes, spec: tk.ImageSpec) -> None:
    actual = pixels.load_pixels(io.BytesIO(content), spec.to_dict())
    assert actual.dtype == np.uint8
    np.testing.assert_array_equal(actual, load_image(content, spec))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_of_any_size(pixels: ModuleType, mode: str, spec: tk.ImageSpec) -> None:
    for (height, width), quality in itertools.product(SIZES, (60, 95)):
        content = encode(make_image(height, width, mode), quality=quality)
        assert_equal_pixels(pixels, content, spec)


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}])
def test_jpeg_of_any_coding(pixels: ModuleType, options: dict[str, Any]) -> None:
    for height, width in SIZES:
        assert_equal_pixels(pixels, encode(make_image(height, width), quality=90, **options), SPECS["stretch"])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_jpeg_of_any_orientation(pixels: ModuleType, orientation: int, spec: tk.ImageSpec) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for height, width in ((50, 70), (131, 257), (530, 411)):
        assert_equal_pixels(pixels, encode(make_image(height, width), exif=exif), spec)


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", matrix_profile(None)),
        ("RGB", matrix_profile(2.2)),
        ("RGB", matrix_profile(None, ALMOST_SRGB)),
        ("RGB", matrix_profile(2.2, DISPLAY_P3)),
        ("RGB", matrix_profile(1.8, PROPHOTO)),
        ("RGB", matrix_profile(2.2, gray=True)),
        ("RGB", b"no profile"),
        ("L", matrix_profile(None, gray=True)),
        ("L", matrix_profile(1.0, gray=True)),
        ("L", matrix_profile(1.8, gray=True)),
        ("L", matrix_profile(2.2, DISPLAY_P3)),
    ],
)
def test_jpeg_of_any_color_space(pixels: ModuleType, mode: str, profile: bytes) -> None:
    for height, width in ((50, 70), (300, 411)):
        assert_equal_pixels(pixels, encode(make_image(height, width, mode), icc_profile=profile), SPECS["crop"])


def test_png_without_transparency(pixels: ModuleType) -> None:
    for (height, width), mode in itertools.product(SIZES, ("RGB", "L")):
        assert_equal_pixels(pixels, encode(make_image(height, width, mode), "PNG"), SPECS["stretch"])


@pytest.mark.parametrize(("mode", "form"), [("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG")])
def test_other_images_are_refused(pixels: ModuleType, mode: str, form: str) -> None:
    content = encode(make_image(20, 20).convert(mode), form)
    with pytest.raises(ValueError, match=f"in color or gray without transparency. Received: {mode}"):
        pixels.load_pixels(io.BytesIO(content), SPECS["stretch"].to_dict())


@pytest.mark.parametrize("options", [{"interpolation": "bicubic"}, {"antialias": True}])
def test_other_resizing_is_refused(pixels: ModuleType, options: dict[str, Any]) -> None:
    spec = tk.ImageSpec((8, 8), **options).to_dict()
    with pytest.raises(ValueError, match="bilinear interpolation without antialias"):
        pixels.load_pixels(io.BytesIO(encode(make_image(20, 20))), spec)


def test_real_photos(pixels: ModuleType, photos: Path) -> None:
    files = sorted((photos / "validation").rglob("*.jpg"))[::2]
    assert len(files) == 100
    for path, spec in itertools.product(files, [tk.ImageSpec((160, 160)), tk.ImageSpec((50, 60)), SPECS["crop"]]):
        np.testing.assert_array_equal(pixels.load_pixels(path, spec.to_dict()), load_image(path, spec), err_msg=path)
