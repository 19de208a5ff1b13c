"""Affine transformations outside a graph: equal to Keras, with and without OpenVINO."""

from __future__ import annotations

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import pytest

from tests.waiting import TIMEOUT
from transferkit.augmentation import affine
from transferkit.augmentation.affine import affine_transform
from transferkit.augmentation.block import AugmentationBlock

needs_openvino = pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="needs the extra `fast`")


@pytest.fixture(autouse=True)
def empty_cache() -> Any:
    affine._affine_function.cache_clear()
    yield
    affine._affine_function.cache_clear()


def matrices(count: int, height: int, width: int) -> np.ndarray:
    """Return rotations, zooms and shifts far beyond the edges."""
    generator = np.random.default_rng(count)
    angle, scale = generator.uniform(-3, 3, count), generator.uniform(0.1, 2, count)
    x, y = generator.uniform(-2, 2, count) * width, generator.uniform(-2, 2, count) * height
    zero = np.zeros(count)
    columns = [scale * np.cos(angle), -scale * np.sin(angle), x, scale * np.sin(angle), scale * np.cos(angle), y]
    return np.stack([*columns, zero, zero], axis=1).astype(np.float32)


@pytest.mark.parametrize("fill_mode", ["reflect", "constant", "nearest", "wrap"])
@pytest.mark.parametrize("shape", [(24, 32, 3), (31, 7, 1), (1, 1, 3), (2, 2, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64", "float64"])
def test_affine_transform_matches_keras(fill_mode: str, shape: tuple[int, int, int], dtype: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (11, *shape)).astype(dtype)
    transforms = matrices(11, *shape[:2])
    expected = keras.ops.image.affine_transform(images.astype("float32"), transforms, fill_mode=fill_mode)
    actual = affine_transform(images, transforms, fill_mode)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, np.asarray(expected), atol=0.05)


def test_affine_transform_shift() -> None:
    images = np.arange(6, dtype="uint8").reshape(1, 2, 3, 1) * 10
    right = np.array([[1, 0, 1, 0, 1, 0, 0, 0]], "float32")
    for fill_mode, edge in (("reflect", [20, 50]), ("nearest", [20, 50]), ("constant", [0, 0])):
        expected = [[10, 20, edge[0]], [40, 50, edge[1]]]
        np.testing.assert_allclose(affine_transform(images, right, fill_mode)[0, :, :, 0], expected, atol=0.01)


@needs_openvino
def test_openvino_is_used_without_gpu() -> None:
    for fill_mode in ("reflect", "constant", "nearest"):
        assert isinstance(affine._affine_function((8, 8, 3), "uint8", fill_mode), affine._OpenVinoGridSample)
    assert not isinstance(affine._affine_function((8, 8, 3), "uint8", "wrap"), affine._OpenVinoGridSample)


@needs_openvino
@pytest.mark.parametrize("fault", ["nan", "wrong edge", "error"])
def test_wrong_openvino_result_uses_keras(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    original = affine._OpenVinoGridSample.__call__

    def wrong(sampler: Any, images: np.ndarray, transforms: np.ndarray) -> np.ndarray:
        if fault == "error":
            raise RuntimeError("no such operation")
        result = original(sampler, images, transforms)
        result[:, :, -1] += np.nan if fault == "nan" else 1
        return result

    monkeypatch.setattr(affine._OpenVinoGridSample, "__call__", wrong)
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    transforms = matrices(2, 8, 8)
    expected = keras.ops.image.affine_transform(images.astype("float32"), transforms, fill_mode="reflect")
    np.testing.assert_array_equal(affine_transform(images, transforms, "reflect"), np.asarray(expected))


def test_without_openvino_keras_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    block = AugmentationBlock(rotation=0.2, zoom=0.3, contrast=0.2)
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3)).astype("uint8")
    seeds = [(1, number) for number in range(3)]
    expected = block.augment(images, seeds)
    monkeypatch.setattr(affine, "openvino_is_available", lambda: False)
    affine._affine_function.cache_clear()
    assert not isinstance(affine._affine_function((20, 20, 3), "uint8", "reflect"), affine._OpenVinoGridSample)
    np.testing.assert_allclose(block.augment(images, seeds), expected, atol=0.1)


def test_affine_transform_is_thread_safe() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 9, 24, 24, 3)).astype("uint8")
    transforms = [matrices(9, 24, 24) + number for number in range(8)]
    barrier = threading.Barrier(8)

    def transform(number: int) -> list[np.ndarray]:
        barrier.wait(timeout=TIMEOUT)
        return [affine_transform(images[number], transforms[number], "reflect") for _ in range(5)]

    with ThreadPoolExecutor(max_workers=8) as pool:
        results = list(pool.map(transform, range(8)))
    for number, repeats in enumerate(results):
        for result in repeats:
            np.testing.assert_array_equal(result, affine_transform(images[number], transforms[number], "reflect"))
