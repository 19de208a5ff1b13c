"""Decodes and resizes images with Pillow and NumPy, for machines without TensorFlow; the pixels are the same."""

from __future__ import annotations

import numpy as np

from transferkit.images.spec import ImageSpec


def supports(spec: ImageSpec) -> bool:
    """Return whether NumPy resizes as `spec` describes."""
    return spec.interpolation == "bilinear" and not spec.antialias


def check_supported(spec: ImageSpec) -> None:
    """Raise a ValueError when `spec` needs TensorFlow."""
    if not supports(spec):
        raise ValueError(
            "`interpolation` must be 'bilinear' without antialias where TensorFlow is not installed. Received: "
            f"{spec.interpolation!r}, antialias={spec.antialias}. Install tensorflow."
        )


def resize_array(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Return an upright image (height, width, 3) as `spec` describes it, uint8, equal to TensorFlow's result."""
    check_supported(spec)
    geometry = spec.geometry(*image.shape[:2])
    image = image if image.dtype == np.uint8 else image.astype(np.float32)
    part = image[geometry.top : geometry.top + geometry.height, geometry.left : geometry.left + geometry.width]
    resized = _resize_bilinear(part, geometry.new_height, geometry.new_width)
    # Indexing leaves the axes in another order in memory than callers, which write the bytes to files, expect.
    pixels = np.ascontiguousarray(np.clip(np.rint(resized), 0, 255).astype(np.uint8))
    if pixels.shape[:2] == spec.image_size:
        return pixels
    padded = np.zeros((*spec.image_size, 3), np.uint8)
    top, left = geometry.new_top, geometry.new_left
    padded[top : top + geometry.new_height, left : left + geometry.new_width] = pixels
    return padded


def _resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    top, bottom, row_fraction = _source_rows(image.shape[0], height)
    left, right, column_fraction = _source_rows(image.shape[1], width)
    column_fraction = column_fraction[None, :, None]

    def along_row(rows: np.ndarray) -> np.ndarray:
        selected = image[rows].astype(np.float32)
        return selected[:, left] + (selected[:, right] - selected[:, left]) * column_fraction

    upper, lower = along_row(top), along_row(bottom)
    return upper + (lower - upper) * row_fraction[:, None, None]


def _source_rows(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lower and upper source index of each output index, and the fraction between them, float32."""
    # In float32 and in this order, as in TensorFlow's kernel: the last bit decides about rounding.
    position = (np.arange(new_size, dtype=np.float32) + np.float32(0.5)) * np.float32(size / new_size) - np.float32(0.5)
    floor = np.floor(position)
    lower = np.maximum(floor, 0).astype(np.int64)
    upper = np.minimum(np.ceil(position), size - 1).astype(np.int64)
    return lower, upper, position - floor
