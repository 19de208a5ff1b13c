"""Losses of quality with a strength for each image: Gaussian blur and JPEG compression.

Pillow and tf.image cannot be used: neither runs in a graph with XLA with a strength for each image.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

# Annex K of the JPEG standard (ITU-T T.81).
_LUMINANCE_TABLE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE_TABLE = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, *[99] * 38),
)
_TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)


def gaussian_blur(images: Any, sigma: Any) -> Any:
    """Return images blurred with a standard deviation in pixels, (n,); edges average the pixels inside the image.

    keras.layers.RandomGaussianBlur is missing in Keras 3.8 and blurs all images of a batch alike.
    """
    rows, columns = (_blur_weights(sigma, pixels) for pixels in keras.ops.shape(images)[1:3])
    return keras.ops.einsum("nwx,nhxc->nhwc", columns, keras.ops.einsum("nhy,nywc->nhwc", rows, images))


def _blur_weights(sigma: Any, pixels: Any) -> Any:
    ops = keras.ops
    positions = ops.cast(ops.arange(pixels), "float32")
    distances = (positions[:, None] - positions) / ops.maximum(sigma, 1e-3)[:, None, None]
    weights = ops.exp(-0.5 * distances**2)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def jpeg(images: Any, quality: Any) -> Any:
    """Return images as after JPEG compression with a whole quality in [1, 100], (n,), and 4:2:0 chroma subsampling.

    Reference: Wallace, "The JPEG still picture compression standard", 1991.
    """
    ops = keras.ops
    height, width = ops.shape(images)[1:3]
    # Whole blocks of both planes: the last row and column are repeated.
    padded_height, padded_width = -(-height // 16) * 16, -(-width // 16) * 16
    padded = ops.take(images, ops.minimum(ops.arange(padded_height), height - 1), axis=1)
    padded = ops.take(padded, ops.minimum(ops.arange(padded_width), width - 1), axis=2)
    planes = ops.einsum("pc,nhwc->nphw", _TO_YCBCR, padded)
    luminance = _compress(planes[:, :1] - 128, _quantization(_LUMINANCE_TABLE, quality)) + 128
    halves = ops.reshape(planes[:, 1:], (-1, 2, padded_height // 2, 2, padded_width // 2, 2))
    chrominance = _compress(ops.mean(halves, axis=(3, 5)), _quantization(_CHROMINANCE_TABLE, quality))
    planes = ops.concatenate([luminance, _double(_double(chrominance, 2), 3)], axis=1)
    decoded = ops.einsum("cp,nphw->nhwc", np.linalg.inv(_TO_YCBCR), planes)
    return ops.clip(decoded, 0, 255)[:, :height, :width]


def _quantization(table: tuple[int, ...], quality: Any) -> Any:
    """Return the quantization steps (n, 1, 1, 64) as libjpeg scales them."""
    ops = keras.ops
    scale = ops.where(quality < 50, ops.floor(5000 / quality), 200 - 2 * quality)[:, None, None, None]
    return ops.clip(ops.floor((np.array(table, np.float32) * scale + 50) / 100), 1, 255)


def _compress(planes: Any, steps: Any) -> Any:
    """Return planes (n, planes, height, width) whose coefficients in blocks of 8 x 8 are multiples of their steps."""
    ops = keras.ops
    _, count, height, width = ops.shape(planes)
    grid = (-1, count, height // 8, width // 8, 8, 8)
    blocks = ops.reshape(planes, (-1, count, height // 8, 8, width // 8, 8))
    blocks = ops.reshape(ops.transpose(blocks, (0, 1, 2, 4, 3, 5)), (-1, 64))
    coefficients = ops.reshape(ops.matmul(blocks, _block_transform().T), (-1, count, height * width // 64, 64))
    # A tie is rounded up also where a rounding error lowered it.
    coefficients = ops.reshape(steps * ops.floor(coefficients / steps + 0.5001), (-1, 64))
    blocks = ops.reshape(ops.matmul(coefficients, _block_transform()), grid)
    return ops.reshape(ops.transpose(blocks, (0, 1, 2, 4, 3, 5)), (-1, count, height, width))


def _double(planes: Any, axis: int) -> Any:
    """Return planes with twice as many rows or columns, interpolated as by libjpeg: 3/4 of one, 1/4 of the next."""
    ops = keras.ops
    count = ops.shape(planes)[axis]
    positions = ops.arange(2 * count)
    nearest = positions // 2
    next_nearest = ops.clip(nearest + 2 * (positions % 2) - 1, 0, count - 1)
    return 0.75 * ops.take(planes, nearest, axis=axis) + 0.25 * ops.take(planes, next_nearest, axis=axis)


def _block_transform() -> np.ndarray:
    """Return the two-dimensional discrete cosine transform of a block as an orthogonal matrix (64, 64)."""
    frequency, position = np.arange(8)[:, None], np.arange(8)
    cosine = np.cos((2 * position + 1) * frequency * np.pi / 16) / 2
    cosine[0] /= np.sqrt(2)
    return np.kron(cosine, cosine).astype(np.float32)
