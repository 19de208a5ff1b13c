"""Decodes and resizes images with TensorFlow, several images per call so that threads rarely wait for Python."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.images.header import DecodeVariant
from transferkit.images.orientation import ORIENTATION_FLIPS
from transferkit.images.perceptual_hash import SAMPLES_PER_CELL, THUMBNAIL_SHAPE
from transferkit.images.spec import ImageSpec, ResizeGeometry

# Traced once, not once in each of the threads that need a function first.
_TRACE_LOCK = threading.Lock()
Pixels = tuple[np.ndarray, np.ndarray]


class DecodeError(ValueError):
    """One of the images of a call is corrupt."""


def decode(encoded: bytes, variant: DecodeVariant, orientation: int) -> np.ndarray:
    """Return one image at its full size, upright; raises a DecodeError when it is corrupt."""
    try:
        with tf.device("/CPU:0"):
            image = _decoded(tf.constant(encoded), variant)
            return (_rotated(image, tf.constant(orientation)) if variant.rotated else image).numpy()
    except tf.errors.OpError as error:
        raise DecodeError("it is truncated or corrupt") from error


def decode_and_resize(
    encoded: Sequence[bytes],
    variant: DecodeVariant,
    orientations: Sequence[int],
    spec: ImageSpec,
    geometries: Sequence[ResizeGeometry],
    with_thumbnail: bool,
) -> Pixels:
    """Decode, rotate and resize plain files of one variant; raise a DecodeError when one of them is corrupt.

    Orientations are EXIF's, 1 to 8; geometries are those of the upright images. Returns uint8 (n, height, width, 3) and
    float32 (n, 8, 9), gray thumbnails of the complete images, which are black unless `with_thumbnail`.
    """
    with tf.device("/CPU:0"):
        with _TRACE_LOCK:
            function = _encoded_function(variant, spec, with_thumbnail)
        columns = tf.constant(encoded), tf.constant(orientations), tf.constant(geometries, tf.int32)
        try:
            images, thumbnails = function(*columns)
        except tf.errors.OpError as error:
            raise DecodeError("one of the images is corrupt") from error
        return images.numpy(), thumbnails.numpy()


def resize_array(image: np.ndarray, spec: ImageSpec) -> Pixels:
    """Resize one image (height, width, 3) with values in [0, 255]; return uint8 pixels and a thumbnail."""
    image = image if image.dtype == np.uint8 else image.astype(np.float32)
    geometry = spec.geometry(*image.shape[:2])
    with tf.device("/CPU:0"):
        with _TRACE_LOCK:
            function = _array_function(spec, image.dtype.name)
        resized, thumbnail = function(tf.constant(image), tf.constant(geometry, tf.int32))
        return resized.numpy(), thumbnail.numpy()


def resize_tensor(image: tf.Tensor, spec: ImageSpec) -> tf.Tensor:
    """Resize one image (height, width, 3) inside a graph; return uint8, equal to `resize_array`."""
    shape = tf.shape(image)[:2]
    geometry = tf.numpy_function(lambda size: np.array(spec.geometry(*size.tolist()), np.int32), [shape], tf.int32)
    image = image if image.dtype == tf.uint8 else tf.cast(image, tf.float32)
    return _resize(image, tf.ensure_shape(geometry, [8]), spec)


@functools.lru_cache(maxsize=256)
def _encoded_function(variant: DecodeVariant, spec: ImageSpec, with_thumbnail: bool) -> Any:
    # One function per variant: a single one with branches for all variants takes longer to trace than most together.
    def decode_one(item: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, orientation, geometry = item
        image = tf.ensure_shape(_decoded(encoded, variant), [None, None, 3])
        image = _rotated(image, orientation) if variant.rotated else image
        return _resize(image, geometry, spec), _thumbnail(image) if with_thumbnail else tf.zeros(THUMBNAIL_SHAPE)

    def decode_all(*columns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        signature = tf.TensorSpec((*spec.image_size, 3), tf.uint8), tf.TensorSpec(THUMBNAIL_SHAPE, tf.float32)
        # Sequential: there are already as many calling threads as cores.
        return tf.map_fn(decode_one, columns, fn_output_signature=signature, parallel_iterations=1)

    rows = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 8], tf.int32)
    return tf.function(decode_all, autograph=False).get_concrete_function(*rows)


@functools.lru_cache(maxsize=64)
def _array_function(spec: ImageSpec, dtype: str) -> Any:
    signature = tf.TensorSpec([None, None, 3], dtype), tf.TensorSpec([8], tf.int32)
    function = tf.function(lambda image, geometry: (_resize(image, geometry, spec), _thumbnail(image)), autograph=False)
    return function.get_concrete_function(*signature)


def _decoded(encoded: tf.Tensor, variant: DecodeVariant) -> tf.Tensor:
    if variant.format == "png":
        return tf.image.decode_png(encoded, channels=3)
    # The accurate transform returns the same pixels as Pillow and costs 3 % more than the fast one.
    scale = variant.scale_denominator
    return tf.image.decode_jpeg(encoded, channels=3, ratio=scale, dct_method="INTEGER_ACCURATE")


def _rotated(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    flips = [[*map(bool, ORIENTATION_FLIPS[key]), False] for key in sorted(ORIENTATION_FLIPS)]
    # One operation for all eight orientations: a branch for each would take long to trace.
    image = tf.raw_ops.Reverse(tensor=image, dims=tf.gather(tf.constant(flips), orientation - 1))
    return tf.transpose(image, tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2]))


def _resize(image: tf.Tensor, geometry: tf.Tensor, spec: ImageSpec) -> tf.Tensor:
    with tf.device("/CPU:0"):
        if spec.resize == "crop":
            image = tf.slice(image, [geometry[0], geometry[1], 0], [geometry[2], geometry[3], 3])
        size = geometry[4:6] if spec.resize == "pad" else spec.image_size
        resized = _to_uint8(tf.image.resize(image, size, spec.interpolation, antialias=spec.antialias))
        if spec.resize == "pad":
            resized = tf.image.pad_to_bounding_box(resized, geometry[6], geometry[7], *spec.image_size)
        return tf.ensure_shape(resized, (*spec.image_size, 3))


def _to_uint8(image: tf.Tensor) -> tf.Tensor:
    if image.dtype == tf.uint8:
        return image
    return tf.cast(tf.clip_by_value(tf.round(tf.cast(image, tf.float32)), 0.0, 255.0), tf.uint8)


def _thumbnail(image: tf.Tensor) -> tf.Tensor:
    # Sampled before averaging: reading every pixel of a large image would take as long as decoding it.
    height, width = THUMBNAIL_SHAPE
    size = height * SAMPLES_PER_CELL, width * SAMPLES_PER_CELL
    sampled = tf.raw_ops.ResizeNearestNeighbor(images=image[None], size=size, half_pixel_centers=True)
    cells = tf.reshape(tf.cast(sampled, tf.float32), (height, SAMPLES_PER_CELL, width, SAMPLES_PER_CELL, 3))
    return tf.reduce_mean(cells, axis=(1, 3, 4))
