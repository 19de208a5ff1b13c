"""Warping images outside a graph: the same as Keras', whoever does it."""

from __future__ import annotations

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import pytest

from transferkit.augmentation import affine as warp
from transferkit.augmentation.affine import affine_transform_batch
from transferkit.augmentation.block import AugmentationBlock

needs_openvino = pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="needs the extra `fast`")


@pytest.fixture(autouse=True)
def nothing_remembered() -> Any:
    warp._warp.cache_clear()
    yield
    warp._warp.cache_clear()


def matrices(count: int, height: int, width: int) -> np.ndarray:
    """Return turns, zooms and shifts that go far beyond the edges."""
    generator = np.random.default_rng(count)
    angle, scale = generator.uniform(-3, 3, count), generator.uniform(0.1, 2, count)
    x, y = generator.uniform(-2, 2, count) * width, generator.uniform(-2, 2, count) * height
    zero = np.zeros(count)
    columns = [scale * np.cos(angle), -scale * np.sin(angle), x, scale * np.sin(angle), scale * np.cos(angle), y]
    return np.stack([*columns, zero, zero], axis=1).astype(np.float32)


@pytest.mark.parametrize("fill_mode", ["reflect", "constant", "nearest", "wrap"])
@pytest.mark.parametrize("shape", [(24, 32, 3), (31, 7, 1), (1, 1, 3), (2, 2, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64", "float64"])
def test_it_is_what_keras_gives(fill_mode: str, shape: tuple[int, int, int], dtype: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (11, *shape)).astype(dtype)
    wanted = matrices(11, *shape[:2])
    expected = keras.ops.image.affine_transform(images.astype("float32"), wanted, fill_mode=fill_mode)
    got = affine_transform_batch(images, wanted, fill_mode)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.asarray(expected), atol=0.05)


def test_a_shift_by_hand() -> None:
    images = np.arange(6, dtype="uint8").reshape(1, 2, 3, 1) * 10
    right = np.array([[1, 0, 1, 0, 1, 0, 0, 0]], "float32")
    for fill_mode, edge in (("reflect", [20, 50]), ("nearest", [20, 50]), ("constant", [0, 0])):
        expected = [[10, 20, edge[0]], [40, 50, edge[1]]]
        np.testing.assert_allclose(affine_transform_batch(images, right, fill_mode)[0, :, :, 0], expected, atol=0.01)


@needs_openvino
def test_the_sampler_is_what_serves_without_a_gpu() -> None:
    for fill_mode in ("reflect", "constant", "nearest"):
        assert isinstance(warp._warp((8, 8, 3), "uint8", fill_mode), warp._OpenVinoGridSample)
    assert not isinstance(warp._warp((8, 8, 3), "uint8", "wrap"), warp._OpenVinoGridSample)


@needs_openvino
@pytest.mark.parametrize("fault", ["nan", "wrong edge", "error"])
def test_a_sampler_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    right = warp._OpenVinoGridSample.__call__

    def wrong(sampler: Any, images: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        if fault == "error":
            raise RuntimeError("no such operation")
        result = right(sampler, images, wanted)
        result[:, :, -1] += np.nan if fault == "nan" else 1
        return result

    monkeypatch.setattr(warp._OpenVinoGridSample, "__call__", wrong)
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    wanted = matrices(2, 8, 8)
    expected = keras.ops.image.affine_transform(images.astype("float32"), wanted, fill_mode="reflect")
    np.testing.assert_array_equal(affine_transform_batch(images, wanted, "reflect"), np.asarray(expected))


def test_without_the_extra_keras_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    block = AugmentationBlock(rotation=0.2, zoom=0.3, contrast=0.2)
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3)).astype("uint8")
    seeds = [(1, number) for number in range(3)]
    expected = block.draw(images, seeds)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    warp._warp.cache_clear()
    assert not isinstance(warp._warp((20, 20, 3), "uint8", "reflect"), warp._OpenVinoGridSample)
    np.testing.assert_allclose(block.draw(images, seeds), expected, atol=0.1)


def test_threads_do_not_disturb_each_other() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 9, 24, 24, 3)).astype("uint8")
    wanted = [matrices(9, 24, 24) + number for number in range(8)]
    together = threading.Barrier(8)

    def one(number: int) -> list[np.ndarray]:
        together.wait(timeout=60)
        return [affine_transform_batch(images[number], wanted[number], "reflect") for _ in range(5)]

    with ThreadPoolExecutor(max_workers=8) as pool:
        results = list(pool.map(one, range(8)))
    for number, several in enumerate(results):
        for result in several:
            np.testing.assert_array_equal(result, affine_transform_batch(images[number], wanted[number], "reflect"))
