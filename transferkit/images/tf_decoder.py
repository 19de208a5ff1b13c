"""The TensorFlow functions that decode and resize, a few images a call, so that threads hardly wait for Python."""

from __future__ import annotations

import dataclasses
import functools
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from transferkit.images.pillow_decoder import ORIENTATION_FLIPS

if TYPE_CHECKING:
    from transferkit.images.spec import ImageSpec

# Traced once, not once in each of the threads that want it first.
_TRACING = threading.Lock()
# Sides of the small grey picture from which perceptual hashes are made, and samples for each pixel of it, squared.
_THUMBNAIL, _SAMPLES = (8, 9), 8


@dataclasses.dataclass(frozen=True)
class DecodeVariant:
    """What files have in common that are decoded by the same operations.

    Attributes:
        format: "jpeg" or "png".
        ratio: 1, 2, 4 or 8: a JPEG is decoded at one over so much of its size; of a PNG it is 1.
        turned: whether images do not lie upright in their files.
    """

    format: str
    ratio: int
    turned: bool


class ResizeGeometry(NamedTuple):
    """Which part of a decoded image is resized to which size, and where that comes to lie; all in pixels."""

    top: int
    left: int
    height: int
    width: int
    new_height: int
    new_width: int
    new_top: int = 0
    new_left: int = 0


def resize_geometry(height: int, width: int, spec: ImageSpec) -> ResizeGeometry:
    """Return what `spec` makes of an image of (height, width) pixels."""
    wanted = spec.image_size
    if spec.resize == "crop":
        kept_height = max(1, round(min(height, width * wanted[0] / wanted[1]) * spec.crop_fraction))
        kept_width = max(1, round(min(width, height * wanted[1] / wanted[0]) * spec.crop_fraction))
        return ResizeGeometry((height - kept_height) // 2, (width - kept_width) // 2, kept_height, kept_width, *wanted)
    if spec.resize == "pad":
        scale = min(wanted[0] / height, wanted[1] / width)
        new_height = max(1, min(wanted[0], round(height * scale)))
        new_width = max(1, min(wanted[1], round(width * scale)))
        corner = (wanted[0] - new_height) // 2, (wanted[1] - new_width) // 2
        return ResizeGeometry(0, 0, height, width, new_height, new_width, *corner)
    return ResizeGeometry(0, 0, height, width, *wanted)


def decode_and_resize(
    encoded: list[bytes],
    kind: DecodeVariant,
    turns: list[int],
    places: list[ResizeGeometry],
    spec: ImageSpec,
    *,
    with_thumbnail: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Decode, turn upright and resize plain files of one kind.

    Args:
        encoded: contents of the files.
        kind: what they all are.
        turns: their orientations as EXIF numbers them, 1 to 8; looked at only if `kind.turned`.
        places: what becomes of the upright images.
        spec: how files become images.
        with_thumbnail: whether the small grey pictures are wanted; else they are black.

    Returns:
        uint8 (n, height, width, 3), and float32 (n, 8, 9): a small grey picture of each whole image.

    Raises:
        tf.errors.OpError: when one of them is corrupt; the others are lost with it.
    """
    with tf.device("/CPU:0"):
        with _TRACING:
            function = _encoded_function(kind, spec, with_thumbnail)
        pixels, thumbnail = function(tf.constant(encoded), tf.constant(turns), _as_rows(places))
        return pixels.numpy(), thumbnail.numpy()


def resize_array(image: np.ndarray, place: ResizeGeometry, spec: ImageSpec) -> tuple[np.ndarray, np.ndarray]:
    """Resize one image (height, width, 3) of any numbers in [0, 255]; returns what `decode_and_resize` does, of one."""
    image = image if image.dtype == np.uint8 else image.astype(np.float32)
    with tf.device("/CPU:0"):
        with _TRACING:
            function = _array_function(spec, image.dtype.name)
        pixels, thumbnail = function(tf.constant(image), _as_rows([place])[0])
        return pixels.numpy(), thumbnail.numpy()


def _as_rows(places: list[ResizeGeometry]) -> tf.Tensor:
    return tf.constant(places, tf.int32)


@functools.lru_cache(maxsize=256)
def _encoded_function(kind: DecodeVariant, spec: ImageSpec, with_thumbnail: bool) -> Any:
    # A function for each kind: one with branches for all kinds takes longer until it is ready than most kinds together.
    def decode_one(item: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, turn, place = item
        image = tf.ensure_shape(_decoded(encoded, kind), [None, None, 3])
        image = _rotated(image, turn) if kind.turned else image
        return _fit(image, place, spec), _thumbnail(image) if with_thumbnail else tf.zeros(_THUMBNAIL)

    def decode_all(*columns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        signature = tf.TensorSpec((*spec.image_size, 3), tf.uint8), tf.TensorSpec(_THUMBNAIL, tf.float32)
        # One after another: the threads that call this are as many as the machine has cores.
        return tf.map_fn(decode_one, columns, fn_output_signature=signature, parallel_iterations=1)

    rows = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 8], tf.int32)
    return tf.function(decode_all, autograph=False).get_concrete_function(*rows)


@functools.lru_cache(maxsize=64)
def _array_function(spec: ImageSpec, dtype: str) -> Any:
    signature = tf.TensorSpec([None, None, 3], dtype), tf.TensorSpec([8], tf.int32)
    fit = tf.function(lambda image, place: (_fit(image, place, spec), _thumbnail(image)), autograph=False)
    return fit.get_concrete_function(*signature)


def _decoded(encoded: tf.Tensor, kind: DecodeVariant) -> tf.Tensor:
    if kind.format == "png":
        return tf.image.decode_png(encoded, channels=3)
    # The accurate transform gives the very pixels that Pillow gives, and costs 3 % more than the fast one.
    return tf.image.decode_jpeg(encoded, channels=3, ratio=kind.ratio, dct_method="INTEGER_ACCURATE")


def _rotated(image: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    reversed_axes = tf.gather(
        tf.constant([[*map(bool, ORIENTATION_FLIPS[key]), False] for key in sorted(ORIENTATION_FLIPS)]), turn - 1
    )
    # One operation for all eight ways: a branch for each of them would take long to trace.
    image = tf.raw_ops.Reverse(tensor=image, dims=reversed_axes)
    return tf.transpose(image, tf.where(turn >= 5, [1, 0, 2], [0, 1, 2]))


def _fit(image: tf.Tensor, place: tf.Tensor, spec: ImageSpec) -> tf.Tensor:
    with tf.device("/CPU:0"):
        part = image
        if spec.resize == "crop":
            part = tf.slice(image, [place[0], place[1], 0], [place[2], place[3], 3])
        size = place[4:6] if spec.resize == "pad" else spec.image_size
        fitted = _rounded(tf.image.resize(part, size, spec.interpolation, antialias=spec.antialias))
        if spec.resize == "pad":
            fitted = tf.image.pad_to_bounding_box(fitted, place[6], place[7], *spec.image_size)
        return tf.ensure_shape(fitted, (*spec.image_size, 3))


def _rounded(image: tf.Tensor) -> tf.Tensor:
    if image.dtype == tf.uint8:
        return image
    return tf.cast(tf.clip_by_value(tf.round(tf.cast(image, tf.float32)), 0.0, 255.0), tf.uint8)


def _thumbnail(image: tf.Tensor) -> tf.Tensor:
    # Sampled before it is averaged: looking at every pixel of a large photograph would take as long as decoding it.
    height, width = _THUMBNAIL
    size = height * _SAMPLES, width * _SAMPLES
    sampled = tf.raw_ops.ResizeNearestNeighbor(images=image[None], size=size, half_pixel_centers=True)
    cells = tf.reshape(tf.cast(sampled, tf.float32), (height, _SAMPLES, width, _SAMPLES, 3))
    return tf.reduce_mean(cells, axis=(1, 3, 4))
