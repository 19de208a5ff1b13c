"""Operations on the colors of images: float32 (n, height, width, 3), RGB in [0, 255], in and out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

# ITU-R BT.601, as in Pillow and in JPEG files.
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def grayscale(images: Any) -> Any:
    """Return the luminance, (n, height, width, 1)."""
    return keras.ops.sum(images * _LUMINANCE, axis=-1, keepdims=True)


def change_saturation_and_hue(images: Any, factor: Any, shift: Any) -> Any:
    """Return images whose saturation is multiplied by `factor` and whose hue is shifted by a part of the circle."""
    ops = keras.ops
    hsv = ops.image.rgb_to_hsv(ops.clip(images, 0, 255) / 255)
    hues = (hsv[..., :1] + shift) % 1.0
    saturations = ops.clip(hsv[..., 1:2] * factor, 0, 1)
    return 255 * ops.image.hsv_to_rgb(ops.concatenate([hues, saturations, hsv[..., 2:]], axis=-1))


def auto_contrast(images: Any) -> Any:
    """Return images whose channels are stretched to [0, 255]."""
    ops = keras.ops
    # Unlike those of TensorFlow, the functions of Keras refuse a batch without images.
    low, high = tf.reduce_min(images, (1, 2), keepdims=True), tf.reduce_max(images, (1, 2), keepdims=True)
    return ops.where(high - low > 1e-3, 255 * (images - low) / ops.maximum(high - low, 1e-3), images)


def equalize(images: Any) -> Any:
    """Return images whose channels have a uniform distribution: the histogram of gray levels is equalized.

    Between gray levels, the map is linear, so that a rounding error does not grow.
    """
    ops = keras.ops
    images = ops.clip(images, 0, 255)
    count, channels = ops.shape(images)[0], images.shape[-1]
    first = 256 * ops.reshape(ops.arange(count * channels), (count, 1, 1, channels))
    levels = first + ops.cast(ops.floor(images + 0.5), "int32")
    ones = ops.reshape(ops.ones_like(images), (-1,))
    histogram = ops.segment_sum(ones, ops.reshape(levels, (-1,)), num_segments=count * channels * 256)
    histogram = ops.reshape(histogram, (-1, 256))
    below = ops.cumsum(histogram, axis=1) - histogram
    # Pixels below the highest level that occurs, which is mapped to 255.
    total = tf.reduce_max(ops.where(histogram > 0, below, 0.0), axis=1, keepdims=True)
    mapped = ops.where(total > 0, ops.minimum(255 * below / ops.maximum(total, 1.0), 255.0), ops.arange(256.0))
    table = ops.reshape(mapped, (-1,))
    lower = ops.cast(ops.floor(images), "int32")
    start, end = (ops.take(table, first + ops.minimum(lower + step, 255)) for step in (0, 1))
    return start + (images - ops.cast(lower, "float32")) * (end - start)


def smoothed(images: Any) -> Any:
    """Return images smoothed by a kernel of 3 x 3, except for their edges, as with Pillow's filter SMOOTH."""
    ops = keras.ops
    kernel = np.full((3, 3, 3, 1), 1 / 13, np.float32)
    kernel[1, 1] = 5 / 13
    inner = ops.depthwise_conv(images, kernel, padding="same", data_format="channels_last")
    height, width = ops.shape(images)[1:3]
    rows, columns = ops.arange(height), ops.arange(width)
    inside_rows, inside_columns = (rows > 0) & (rows < height - 1), (columns > 0) & (columns < width - 1)
    return ops.where((inside_rows[:, None] & inside_columns)[..., None], inner, images)
