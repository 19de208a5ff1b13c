"""Image files as a tf.data.Dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from transferkit._utils.tf_data import without_autotuning
from transferkit.images.loading import image_batches
from transferkit.images.spec import ImageSpec


def image_dataset(sources: Sequence[Any], spec: ImageSpec, *, order: Sequence[int] | np.ndarray | None = None) -> Any:
    """Return a dataset of uint8 images (height, width, 3), decoded in parallel, equal to those of `load_image`.

    Iterating raises `tf.errors.OpError`, whose message has the path, at a file that cannot be read.

    Args:
        sources: sequence of paths, bytes or arrays.
        spec: `ImageSpec`. How they are decoded and resized.
        order: sequence of int. Indices into `sources`. Defaults to all of them in their order.

    Example:

    >>> images = [np.zeros((4, 6, 3), np.uint8)] * 3
    >>> len(image_dataset(images, ImageSpec((2, 2))))
    3
    """

    import tensorflow as tf

    def batches() -> Iterator[np.ndarray]:
        yield from image_batches(sources, spec, batch_size=64, order=order)

    count = len(sources) if order is None else len(order)
    rows = tf.TensorSpec((None, *spec.image_size, 3), tf.uint8)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=rows).unbatch()
    return without_autotuning(dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(64))
