"""Turning, shifting and scaling images outside a graph: by OpenVINO's sampler where it is installed, else by Keras."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# What OpenVINO calls the ways of filling, and NumPy; OpenVINO knows no other.
_PADDINGS: dict[str, tuple[str, Any]] = {
    "reflect": ("reflection", "symmetric"),
    "constant": ("zeros", "constant"),
    "nearest": ("border", "edge"),
}
# Grey levels of 255 in which a result may be off; from Keras' it was seen to differ by 0.03.
_TOLERANCE = 0.1
# Images that are sampled together: few, for they stay in the caches.
_BATCH = 4
# Made once, not once in each of the threads that want it first.
_BUILD_LOCK = threading.Lock()
Warp = Callable[[np.ndarray, np.ndarray], np.ndarray]


def affine_transform_batch(images: np.ndarray, matrices: np.ndarray, fill_mode: str) -> np.ndarray:
    """Return what `keras.ops.image.affine_transform` gives, within a tenth of a grey level; from any thread.

    With the extra `fast`, and without a GPU, that takes a quarter of the processor time.

    Args:
        images: (n, height, width, channels) in [0, 255].
        matrices: (n, 8): which point of the image each point of the result shows, as Keras takes them, the
            last two being 0.
        fill_mode: "reflect", "constant" (black), "wrap" or "nearest".

    Returns:
        float32 (n, height, width, channels).

    Example:

    >>> shift = np.array([[1, 0, 1, 0, 1, 0, 0, 0]], "float32")
    >>> warped(np.arange(3.0).reshape(1, 1, 3, 1), shift, "nearest").ravel().tolist()
    [1.0, 2.0, 2.0]

    Reference: Jaderberg et al., "Spatial Transformer Networks", 2015, arXiv:1506.02025.
    """
    if images.dtype != np.uint8:
        images = images.astype(np.float32, copy=False)
    with _BUILD_LOCK:
        warp = _warp(images.shape[1:], images.dtype.name, fill_mode)
    return warp(images, matrices)


@functools.lru_cache(maxsize=16)
def _warp(shape: tuple[int, ...], dtype: str, fill_mode: str) -> Warp:
    by_keras = functools.partial(_keras_affine, fill_mode=fill_mode)
    if fill_mode not in _PADDINGS or not importlib.util.find_spec("openvino") or tf.config.list_physical_devices("GPU"):
        return by_keras
    ours, numpys = _PADDINGS[fill_mode]
    try:
        sampler = _OpenVinoGridSample(shape, dtype, ours)
        probe = np.random.default_rng(0).integers(0, 256, (1, *shape)).astype(dtype)
        # Mirrored and moved by a pixel, so that the edge is filled: that is easily said with NumPy.
        moved = sampler(probe, np.array([[-1, 0, shape[1] - 2, 0, 1, -1, 0, 0]]))
        expected = np.pad(probe, ((0, 0), (1, 0), (1, 0), (0, 0)), numpys)[:, : shape[0], shape[1] - 1 :: -1]
        is_right = np.abs(moved - expected).max() <= _TOLERANCE
    except RuntimeError:
        return by_keras
    return sampler if is_right else by_keras


def _keras_affine(images: np.ndarray, matrices: np.ndarray, fill_mode: str) -> np.ndarray:
    images = images.astype(np.float32, copy=False)
    matrices = matrices.astype(np.float32, copy=False)
    return np.asarray(keras.ops.image.affine_transform(images, matrices, fill_mode=fill_mode))


class _OpenVinoGridSample:
    """A small OpenVINO model: from images and coefficients to the points at which images are sampled, and those."""

    def __init__(self, shape: tuple[int, ...], dtype: str, padding: str) -> None:
        import openvino

        self._height, self._width = shape[:2]
        # Many small requests side by side, each on one thread: those that call are as many as the cores.
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
        self._compiled = openvino.Core().compile_model(_sampling_model(shape, dtype, padding), "CPU", options)

    def __call__(self, images: np.ndarray, matrices: np.ndarray) -> np.ndarray:
        request = self._compiled.create_infer_request()
        images, coefficients = np.ascontiguousarray(images), self._coefficients(matrices)
        result = np.empty(images.shape, np.float32)
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            request.infer([images[part], coefficients[part]], share_inputs=True)
            result[part] = request.output_tensors[0].data
        return result

    def _coefficients(self, matrices: np.ndarray) -> np.ndarray:
        """Return (n, 6) that lead to where GridSample wants points: from -1 to 1 between the outer edges of pixels."""
        rows = matrices[:, :6].astype(np.float64).reshape(-1, 2, 3)
        scale = 2 / np.array([self._width, self._height])
        rows = rows * scale[:, None]
        rows[:, :, 2] += scale / 2 - 1
        return rows.reshape(-1, 6).astype(np.float32)


def _sampling_model(shape: tuple[int, ...], dtype: str, padding: str) -> Any:
    import openvino
    from openvino import opset13 as ops

    height, width, channels = shape
    images = ops.parameter([-1, height, width, channels], np.dtype(dtype))
    coefficients = ops.parameter([-1, 6], np.float32)
    xx, xy, x, yx, yy, y = ops.split(ops.reshape(coefficients, ops.constant([-1, 6, 1, 1]), False), 1, 6).outputs()
    columns = ops.constant(np.arange(width, dtype=np.float32).reshape(1, 1, 1, width))
    rows = ops.constant(np.arange(height, dtype=np.float32).reshape(1, 1, height, 1))

    def places(along_x: Any, along_y: Any, start: Any) -> Any:
        return ops.add(ops.multiply(along_x, columns), ops.add(ops.multiply(along_y, rows), start))

    points = ops.concat([places(xx, xy, x), places(yx, yy, y)], 1)
    by_channel = ops.transpose(ops.convert(images, np.float32), ops.constant([0, 3, 1, 2]))
    how = {"align_corners": False, "mode": "bilinear", "padding_mode": padding}
    sampled = ops.grid_sample(by_channel, ops.transpose(points, ops.constant([0, 2, 3, 1])), how)
    return openvino.Model([ops.transpose(sampled, ops.constant([0, 2, 3, 1]))], [images, coefficients])
