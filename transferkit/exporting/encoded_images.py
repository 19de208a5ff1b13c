"""A signature of a SavedModel that decodes JPEG and PNG files and resizes them as training did, inside the graph."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from transferkit.images.orientation import ORIENTATION_FLIPS
from transferkit.images.spec import ImageSpec

# EXIF is the first segment or close to it.
_EXIF, _PREFIX_BYTES, _ORIENTATION_TAG = b"Exif\0\0", 1 << 16, 0x0112
_SCALES = (1, 2, 4, 8)


def encoded_images_signature(predict: Any, spec: ImageSpec) -> Any:
    """Return a TensorFlow function from the contents of files, str (n,), to what `predict` returns for their images."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="encoded")], autograph=False)
    def predict_encoded(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        signature = tf.TensorSpec((*spec.image_size, 3), tf.uint8)
        images = tf.map_fn(lambda content: decode_image(content, spec), encoded, fn_output_signature=signature)
        return predict(tf.cast(images, predict.input_signature[0].dtype))

    return predict_encoded


def decode_image(content: tf.Tensor, spec: ImageSpec) -> tf.Tensor:
    """Return the image, uint8 (height, width, 3), of the contents of a JPEG file or a PNG file of 8 bits.

    Color profiles are ignored, and so are orientations of PNG files.
    """
    image = tf.cond(tf.io.is_jpeg(content), lambda: _decode_jpeg(content, spec), lambda: _decode_png(content))
    return _resize(tf.ensure_shape(image, (None, None, 3)), spec)


def _decode_png(content: tf.Tensor) -> tf.Tensor:
    """Return an image on white, with the integer arithmetic of Pillow's `alpha_composite`."""
    image = tf.cast(tf.io.decode_png(content, channels=4), tf.int32)
    # Programs that do not use alpha leave it 0.
    alpha = tf.cond(tf.reduce_any(image[..., 3:] > 0), lambda: image[..., 3:], lambda: tf.fill([1, 1, 1], 255))
    total = (image[..., :3] * alpha + 255 * (255 - alpha)) * 128 + 128 * 128
    return tf.cast(((total // 256 + total) // 256) // 128, tf.uint8)


def _decode_jpeg(content: tf.Tensor, spec: ImageSpec) -> tf.Tensor:
    def decode(scale: int) -> tf.Tensor:
        return tf.io.decode_jpeg(content, channels=3, ratio=scale, dct_method="INTEGER_ACCURATE")

    shape = tf.io.extract_jpeg_shape(content)
    if spec.full_decode:
        image = decode(1)
    else:
        required = 2 * int(max(spec.image_size) / spec.crop_fraction)
        fits = tf.reduce_min(shape[:2]) // tf.constant(_SCALES[1:]) >= required
        branches = [lambda scale=scale: decode(scale) for scale in _SCALES]
        image = tf.switch_case(tf.reduce_sum(tf.cast(fits, tf.int32)), branches)
    orientation = _exif_orientation(content)
    flips = tf.constant([[*map(bool, ORIENTATION_FLIPS[key]), False] for key in sorted(ORIENTATION_FLIPS)])
    image = tf.raw_ops.Reverse(tensor=image, dims=tf.gather(flips, orientation - 1))
    return tf.transpose(image, tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2]))


def _exif_orientation(content: tf.Tensor) -> tf.Tensor:
    """Return the EXIF orientation of a JPEG file, 1 to 8; 1 where it has none."""
    data = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 0, _PREFIX_BYTES), tf.uint8), tf.int32)
    count = tf.maximum(tf.size(data) - len(_EXIF), 0)
    matches = tf.reduce_all(tf.stack([data[i : i + count] == byte for i, byte in enumerate(_EXIF)]), axis=0)
    # Zeros behind the data, so that offsets of a damaged file point at nothing rather than fail.
    data = tf.concat([data, tf.zeros([64], tf.int32)], axis=0)

    def read() -> tf.Tensor:
        start = tf.cast(tf.argmax(matches), tf.int32) + len(_EXIF)
        is_big = data[start] == ord("M")

        def number(offsets: tf.Tensor, size: int) -> tf.Tensor:
            """Return the integers of `size` bytes at offsets."""
            limit = tf.size(data) - size
            at = tf.clip_by_value(offsets, 0, limit)[..., None] + tf.range(size)
            powers = tf.constant([256**power for power in range(size)], tf.int32)
            return tf.reduce_sum(tf.gather(data, at) * tf.where(is_big, powers[::-1], powers), axis=-1)

        directory = start + tf.clip_by_value(number(start + 4, 4), 0, _PREFIX_BYTES)
        entries = directory + 2 + 12 * tf.range(tf.minimum(number(directory, 2), 1000))
        found = tf.boolean_mask(number(entries + 8, 2), number(entries, 2) == _ORIENTATION_TAG)
        value = tf.concat([found, [1]], axis=0)[0]
        return tf.where((value >= 1) & (value <= 8), value, 1)

    return tf.cond(tf.reduce_any(matches), read, lambda: tf.constant(1))


def _resize(image: tf.Tensor, spec: ImageSpec) -> tf.Tensor:
    """Return what `ImageSpec.geometry` describes, computed in the graph."""
    height, width = spec.image_size
    shape = tf.shape(image)
    sides = tf.cast(shape[:2], tf.float64)
    target = tf.constant(spec.image_size, tf.float64)
    size = tf.constant(spec.image_size)
    if spec.resize == "crop":
        other = tf.stack([sides[1] * height / width, sides[0] * width / height])
        kept = tf.maximum(1, tf.cast(tf.round(tf.minimum(sides, other) * spec.crop_fraction), tf.int32))
        corner = (shape[:2] - kept) // 2
        image = tf.slice(image, [corner[0], corner[1], 0], [kept[0], kept[1], 3])
    elif spec.resize == "pad":
        scaled = tf.round(sides * tf.reduce_min(target / sides))
        size = tf.maximum(1, tf.minimum(size, tf.cast(scaled, tf.int32)))
    resized = tf.image.resize(image, size, spec.interpolation, antialias=spec.antialias)
    pixels = tf.cast(tf.clip_by_value(tf.round(tf.cast(resized, tf.float32)), 0.0, 255.0), tf.uint8)
    if spec.resize == "pad":
        corner = (tf.constant(spec.image_size) - size) // 2
        pixels = tf.image.pad_to_bounding_box(pixels, corner[0], corner[1], height, width)
    return tf.ensure_shape(pixels, (height, width, 3))
