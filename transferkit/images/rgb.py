"""Converts Pillow images of any mode to RGB: sRGB, alpha on white, 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageChops

from transferkit.images.color_profile import gamma_table, srgb_converter

# Pixels converted at once: a large image with alpha or 16 bits would otherwise take many times its memory.
_PIXELS_PER_STRIP = 4_000_000
_HIGH_BIT_DEPTH_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# Ranges of values by mode: the highest value must be above the first number and at most the second, which is white.
_RANGES = {"F": ((0, 1), (127, 255), (32767, 65535)), "I": ((0, 65535),)}
# Rows and columns of which the range of values is estimated.
_SAMPLED = 1000
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_PLANAR, _SEPARATE, _SAMPLE_FORMAT, _UNSIGNED = 284, 2, 339, 1


def to_rgb(image: Image.Image) -> np.ndarray:
    """Return uint8 (height, width, 3) of a loaded image of any mode.

    Raises:
        ValueError: when it has no finite value, or Pillow reads its planes wrong.
    """
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANAR) == _SEPARATE and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8:
        raise ValueError("it has planes of more than 8 bits; save it with the colors of each pixel next to each other")
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    convert, top = _converter(image), 0
    for strip in _strips(image):
        pixels[top : top + strip.height] = convert(strip)
        top += strip.height
    return pixels


def _converter(image: Image.Image) -> Callable[[Image.Image], np.ndarray]:
    """Return the function that converts strips of `image`."""
    if image.mode in _HIGH_BIT_DEPTH_MODES:
        to_color, mode, has_alpha = _gray_scaler(image), "L", False
    else:
        to_color, mode = _color_reader(image)
        has_alpha = image.has_transparency_data and _has_opaque_pixel(image)
    profile = image.info.get("icc_profile")
    to_srgb = srgb_converter(profile, mode) if profile else None
    # The profile of a PNG file, or its statement that the colors are sRGB, precede its gamma.
    table = None if profile or "srgb" in image.info else gamma_table(image.info.get("gamma"))

    def convert(strip: Image.Image) -> np.ndarray:
        rgb = to_color(strip) if to_srgb is None else to_srgb(to_color(strip))
        rgb = rgb.convert("RGB") if table is None else rgb.convert("RGB").point(table.tolist() * 3)
        if has_alpha:
            rgb.putalpha(strip.convert("RGBA").getchannel("A"))
            rgb = Image.alpha_composite(Image.new("RGBA", rgb.size, "white"), rgb).convert("RGB")
        return np.asarray(rgb)

    return convert


def _strips(image: Image.Image) -> Iterator[Image.Image]:
    width, height = image.size
    if width * height <= _PIXELS_PER_STRIP:
        yield image
        return
    rows = max(1, _PIXELS_PER_STRIP // width)
    for top in range(0, height, rows):
        yield image.crop((0, top, width, min(height, top + rows)))


def _color_reader(image: Image.Image) -> tuple[Callable[[Image.Image], Image.Image], str]:
    """Return the function that returns the colors of a strip without alpha, and the mode that they have."""
    if image.mode == "CMYK":
        # Pillow inverts all JPEG files in CMYK, as Adobe stores them; files of other programs are not inverted.
        is_inverted = image.format in ("JPEG", "MPO") and "adobe" not in image.info
        return (ImageChops.invert if is_inverted else lambda strip: strip), "CMYK"
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return (lambda strip: strip if strip.mode == mode else strip.convert(mode)), mode


def _has_opaque_pixel(image: Image.Image) -> bool:
    """Return whether alpha is above 0 anywhere; programs that do not use alpha leave it 0."""
    alphas = (strip.convert("RGBA").getchannel("A") for strip in _strips(image))
    return any(np.ravel(alpha.getextrema())[-1] > 0 for alpha in alphas)


def _gray_scaler(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return the function that scales gray values of 16 bits, 32 bits or floats to 8 bits; Pillow would clip them."""
    low, high = _value_range(image)
    tags = getattr(image, "tag_v2", {})
    is_inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    transparent = image.info.get("transparency")
    as_stored = _value_reader(image)

    def scale(strip: Image.Image) -> Image.Image:
        values = as_stored(strip)
        # Values of a float file may be anything, up to the largest number.
        with np.errstate(over="ignore", invalid="ignore"):
            fractions = np.nan_to_num((values.astype(np.float32) - low) / (high - low), posinf=1, neginf=0)
        gray = np.rint(np.clip(fractions, 0, 1) * 255).astype(np.uint8)
        gray = 255 - gray if is_inverted else gray
        if isinstance(transparent, int):
            gray[values == transparent] = 255
        return Image.fromarray(gray)

    return scale


def _value_reader(image: Image.Image) -> Callable[[Image.Image], np.ndarray]:
    """Return the function from a strip to its values; Pillow takes unsigned numbers of 32 bits for signed ones."""
    tags = getattr(image, "tag_v2", {})
    is_unsigned = image.mode == "I" and tags.get(_BITS_PER_SAMPLE) == (32,)
    is_unsigned = is_unsigned and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED
    return lambda strip: np.asarray(strip).view(np.uint32) if is_unsigned else np.asarray(strip)


def _value_range(image: Image.Image) -> tuple[float, float]:
    """Return the values that become 0 and 255."""
    if image.mode not in _RANGES:
        return 0.0, 4095.0 if getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE) == (12,) else 65535.0
    size = min(image.width, _SAMPLED), min(image.height, _SAMPLED)
    sample = _value_reader(image)(image.resize(size, Image.Resampling.NEAREST)).astype(np.float64)
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        raise ValueError("it has no finite value")
    # Neither the lowest nor the highest value: a few defective pixels must not decide about all others.
    low = float(np.percentile(finite, 0.1, method="higher"))
    high = float(np.percentile(finite, 99.9, method="lower"))
    known = (float(top) for least, top in _RANGES[image.mode] if low >= 0 and least < high <= top)
    top = next(known, None)
    return (low, max(high, low + 1e-6 * max(1.0, abs(low)))) if top is None else (0.0, top)
