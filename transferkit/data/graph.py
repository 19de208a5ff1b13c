"""The TensorFlow functions that decode and resize, a few images a call, so that threads hardly wait for Python."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from transferkit.data.spec import PixelSpec

__all__ = ["Place", "code_of", "fit_array", "fit_encoded", "place_of"]

# Traced once, not once in each of the threads that want it first.
_TRACING = threading.Lock()
# What decodes an image, by its number in `fit_encoded`: JPEG at 1/1, 1/2, 1/4 and 1/8, and PNG.
_RATIOS = (1, 2, 4, 8)
_PNG = len(_RATIOS)
# Sides of the small grey picture from which perceptual hashes are made, and of what it is sampled from.
_GREY, _SAMPLED = (8, 9), 64


@dataclasses.dataclass(frozen=True)
class Place:
    """Which part of a decoded image is resized to which size, and where that comes to lie; all in pixels."""

    top: int
    left: int
    height: int
    width: int
    new_height: int
    new_width: int
    new_top: int = 0
    new_left: int = 0


def place_of(height: int, width: int, spec: PixelSpec) -> Place:
    """Return what `spec` makes of an image of (height, width) pixels."""
    wanted = spec.image_size
    if spec.resize == "crop":
        kept_height = max(1, round(min(height, width * wanted[0] / wanted[1]) * spec.crop_fraction))
        kept_width = max(1, round(min(width, height * wanted[1] / wanted[0]) * spec.crop_fraction))
        return Place((height - kept_height) // 2, (width - kept_width) // 2, kept_height, kept_width, *wanted)
    if spec.resize == "pad":
        scale = min(wanted[0] / height, wanted[1] / width)
        new_height = max(1, min(wanted[0], round(height * scale)))
        new_width = max(1, min(wanted[1], round(width * scale)))
        corner = (wanted[0] - new_height) // 2, (wanted[1] - new_width) // 2
        return Place(0, 0, height, width, new_height, new_width, *corner)
    return Place(0, 0, height, width, *wanted)


def code_of(form: str, ratio: int) -> int:
    """Return the number under which `fit_encoded` knows a decoder."""
    return _PNG if form == "png" else _RATIOS.index(ratio)


def fit_encoded(
    encoded: list[bytes],
    codes: list[int],
    turns: list[int],
    places: list[Place],
    spec: PixelSpec,
    *,
    with_grey: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Decode, turn upright and resize plain JPEG and PNG files.

    Args:
        encoded: contents of the files.
        codes: their decoders, by `code_of`.
        turns: their orientations as EXIF numbers them, 1 to 8.
        places: what becomes of the upright images.
        spec: how files become images.
        with_grey: whether the small grey pictures are wanted; else they are black.

    Returns:
        uint8 (n, height, width, 3), and float32 (n, 8, 9): a small grey picture of each whole image.

    Raises:
        tf.errors.OpError: when one of them is corrupt; the others are lost with it.
    """
    with tf.device("/CPU:0"):
        with _TRACING:
            function = _encoded_function(spec)
        pixels, grey = function(
            tf.constant(encoded), tf.constant(codes), tf.constant(turns), _as_rows(places), tf.constant(with_grey)
        )
        return pixels.numpy(), grey.numpy()


def fit_array(image: np.ndarray, place: Place, spec: PixelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Resize one image (height, width, 3) of any numbers in [0, 255]; returns what `fit_encoded` does, of one."""
    image = image if image.dtype == np.uint8 else image.astype(np.float32)
    with tf.device("/CPU:0"):
        with _TRACING:
            function = _array_function(spec, image.dtype.name)
        pixels, grey = function(tf.constant(image), _as_rows([place])[0])
        return pixels.numpy(), grey.numpy()


def _as_rows(places: list[Place]) -> tf.Tensor:
    return tf.constant([list(dataclasses.astuple(place)) for place in places], tf.int32)


@functools.lru_cache(maxsize=64)
def _encoded_function(spec: PixelSpec) -> Any:
    def one(item: tuple[tf.Tensor, ...], with_grey: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, code, turn, place = item
        decoders = [functools.partial(_jpeg, encoded, ratio) for ratio in _RATIOS]
        decoders.append(functools.partial(tf.image.decode_png, encoded, channels=3))
        image = tf.ensure_shape(tf.switch_case(code, decoders), [None, None, 3])
        image = tf.ensure_shape(tf.cond(turn == 1, lambda: image, lambda: _upright(image, turn)), [None, None, 3])
        grey = tf.cond(with_grey, lambda: _grey(image), lambda: tf.zeros(_GREY))
        return _fit(image, place, spec), tf.ensure_shape(grey, _GREY)

    def several(*arguments: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        *columns, with_grey = arguments
        signature = tf.TensorSpec((*spec.image_size, 3), tf.uint8), tf.TensorSpec(_GREY, tf.float32)
        decode = functools.partial(one, with_grey=with_grey)
        # One after another: the threads that call this are as many as the machine has cores.
        return tf.map_fn(decode, tuple(columns), fn_output_signature=signature, parallel_iterations=1)

    numbers = tf.TensorSpec([None], tf.int32)
    rows = tf.TensorSpec([None], tf.string), numbers, numbers, tf.TensorSpec([None, 8], tf.int32)
    return tf.function(several, autograph=False).get_concrete_function(*rows, tf.TensorSpec([], tf.bool))


@functools.lru_cache(maxsize=64)
def _array_function(spec: PixelSpec, dtype: str) -> Any:
    signature = tf.TensorSpec([None, None, 3], dtype), tf.TensorSpec([8], tf.int32)
    fit = tf.function(lambda image, place: (_fit(image, place, spec), _grey(image)), autograph=False)
    return fit.get_concrete_function(*signature)


def _jpeg(encoded: tf.Tensor, ratio: int) -> tf.Tensor:
    # The accurate transform gives the very pixels that Pillow gives, and costs 3 % more than the fast one.
    return tf.image.decode_jpeg(encoded, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _upright(image: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    def turned(*axes: int, transposed: bool = False) -> Callable[[], tf.Tensor]:
        return lambda: tf.transpose(tf.reverse(image, axes), [1, 0, 2]) if transposed else tf.reverse(image, axes)

    ways = [turned(), turned(1), turned(0, 1), turned(0), turned(transposed=True), turned(0, transposed=True)]
    ways += [turned(0, 1, transposed=True), turned(1, transposed=True)]
    return tf.ensure_shape(tf.switch_case(turn - 1, ways), [None, None, 3])


def _fit(image: tf.Tensor, place: tf.Tensor, spec: PixelSpec) -> tf.Tensor:
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


def _grey(image: tf.Tensor) -> tf.Tensor:
    # Sampled before it is averaged: looking at every pixel of a large photograph would take as long as decoding it.
    size = tf.shape(image)
    down, right = tf.maximum(1, size[0] // _SAMPLED), tf.maximum(1, size[1] // _SAMPLED)
    sampled = tf.cast(tf.ensure_shape(image[::down, ::right], [None, None, 3]), tf.float32)
    return tf.reduce_mean(tf.image.resize(sampled, _GREY, "area"), axis=-1)
