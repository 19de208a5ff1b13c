"""The augmentation block in training and inference, and its seeded views."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from transferkit.augmentation.block import AugmentationBlock

ALL_CHANGES = {
    "flip": "horizontal_and_vertical",
    "rotation": 0.1,
    "zoom": 0.1,
    "translation": 0.1,
    "brightness": 0.1,
    "contrast": 0.2,
    "saturation": 0.3,
    "hue": 0.1,
}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (24, 32, 3)).astype("float32")


def test_call_in_inference_returns_images(image: np.ndarray) -> None:
    block = AugmentationBlock(**ALL_CHANGES)
    np.testing.assert_array_equal(block(image[None]), image[None])
    np.testing.assert_array_equal(block(image[None], training=False), image[None])


@pytest.mark.parametrize("only", [{name: value} for name, value in ALL_CHANGES.items()])
def test_each_change_in_training_and_in_views(image: np.ndarray, only: dict[str, Any]) -> None:
    block = AugmentationBlock(**{"flip": None, **only})
    batch = np.repeat(image[None], 16, axis=0)
    assert np.abs(np.asarray(block(batch, training=True)) - batch).max() > 1
    views = np.asarray(block.augment(batch, [(0, n) for n in range(16)]))
    assert np.abs(views - batch).max() > 1
    assert views.shape == batch.shape


def test_augment_flips_half_of_the_images(image: np.ndarray) -> None:
    block = AugmentationBlock(flip="horizontal")
    views = np.asarray(block.augment(np.repeat(image[None], 200, axis=0), [(7, n) for n in range(200)]))
    flipped = sum(np.allclose(view, image[:, ::-1], atol=1e-2) for view in views)
    assert flipped + sum(np.allclose(view, image, atol=1e-2) for view in views) == 200
    assert 70 < flipped < 130


def test_augment_depends_only_on_image_and_seed(image: np.ndarray) -> None:
    block = AugmentationBlock(**ALL_CHANGES)
    together = np.asarray(block.augment(np.stack([image, image, image]), [(1, 2), (1, 3), (1, 2)]))
    np.testing.assert_array_equal(together[0], together[2])
    assert np.abs(together[0] - together[1]).max() > 1
    alone = np.asarray(block.augment(image[None], [(1, 3)]))
    np.testing.assert_allclose(together[1], alone[0], atol=1e-3)


def test_rotation_by_quarter_circle() -> None:
    block = AugmentationBlock(flip=None, rotation=0.5)
    values = np.full((1, 10), 0.75, "float32")  # Half of the largest angle: a quarter of the circle.
    images = np.arange(27, dtype="float32").reshape(1, 3, 3, 3)
    rotated = np.asarray(block._augment(keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(values)))
    np.testing.assert_allclose(rotated[0], np.rot90(images[0]), atol=1e-3)


def test_rotation_matches_keras(image: np.ndarray) -> None:
    block = AugmentationBlock(flip=None, rotation=0.1)
    values = np.full((1, 10), 0.75, "float32")  # Half of the largest angle: 0.05 of the circle.
    actual = np.asarray(block._augment(keras.ops.convert_to_tensor(image[None]), keras.ops.convert_to_tensor(values)))
    # The direction of a positive angle is not defined.
    layers = [keras.layers.RandomRotation((angle, angle)) for angle in (0.05, -0.05)]
    assert min(np.abs(actual - np.asarray(layer(image[None], training=True))).max() for layer in layers) < 0.1


def test_augment_eager_and_in_graph_are_equal(image: np.ndarray) -> None:
    block = AugmentationBlock(**ALL_CHANGES)
    values = tf.constant(np.random.default_rng(0).random((2, 10), np.float32))
    batch = tf.constant(np.stack([image, image]))
    dataset = tf.data.Dataset.from_tensors((batch, values)).map(block._augment)
    np.testing.assert_allclose(next(iter(dataset)), block._augment(batch, values), atol=1e-2)


def test_flip_and_rotation_are_independent(image: np.ndarray) -> None:
    block = AugmentationBlock(flip="horizontal", rotation=0.2)
    halves = np.zeros((32, 32, 3), "float32")
    halves[:, 16:, 0] = 255  # The right half is red: a flip makes the left one red.
    halves[:16, :, 1] = 255  # The upper half is green: a rotation moves it to a side.
    kinds = set()
    for view in np.asarray(block.augment(np.repeat(halves[None], 60, axis=0), [(3, number) for number in range(60)])):
        kinds.add((view[:, 24:, 0].mean() > 127, view[8:24, :8, 1].mean() > view[8:24, 24:, 1].mean()))
    assert len(kinds) == 4


def test_call_with_same_seed_is_reproducible(image: np.ndarray) -> None:
    batch = np.repeat(image[None], 4, axis=0)
    first, second, third = (np.asarray(AugmentationBlock(zoom=0.3, seed=s)(batch, training=True)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - third).max() > 1


def test_config_round_trip() -> None:
    block = AugmentationBlock(**ALL_CHANGES, fill_mode="constant", seed=5)
    assert AugmentationBlock.from_config(block.get_config()).get_config() == block.get_config()


def test_block_is_saved_with_model(tmp_path: Any) -> None:
    images = keras.Input((8, 8, 3))
    keras.Model(images, AugmentationBlock(zoom=0.2)(images)).save(tmp_path / "m.keras")
    assert keras.saving.load_model(tmp_path / "m.keras").layers[1].zoom == 0.2


def test_show_plots_nine_views(image: np.ndarray, tmp_path: Any) -> None:
    figure = AugmentationBlock(rotation=0.2).show(image, tmp_path / "views.png")
    assert [axes.get_title() for axes in figure.axes] == [f"View {number}" for number in range(1, 10)]
    assert (tmp_path / "views.png").stat().st_size > 1000
    Image.fromarray(image.astype(np.uint8)).save(tmp_path / "image.png")
    assert len(AugmentationBlock().show(tmp_path / "image.png").axes) == 9


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rotation": 1.5}, "`rotation` must be in [0, 1]. Received: 1.5."),
        ({"rotation": 20}, "Received: 20. It is a fraction of a circle: 0.1 is 36 degrees."),
        ({"hue": 15}, "`hue` must be in [0, 1]. Received: 15. For 15 percent, give 0.15."),
        ({"zoom": "much"}, "`zoom` must be in [0, 1]. Received: 'much'."),
        ({"flip": "horizontl"}, "Received: 'horizontl'. Did you mean 'horizontal'?"),
        ({"fill_mode": "mirror"}, "`fill_mode` must be one of 'reflect', 'constant', 'wrap', 'nearest'."),
        ({"seed": -1}, "`seed` must be an integer of at least 0. Received: -1."),
    ],
)
def test_block_invalid_argument_raises(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as error:
        AugmentationBlock(**arguments)
    assert text in str(error.value)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_test_views_spread_the_brightness(count):
    block = AugmentationBlock(brightness=0.2)
    images = np.full((2, 4, 4, 3), 100, np.uint8)
    views = [block.test_view(images, index, count) for index in range(count)]
    assert all(np.ptp(view) == 0 for view in views)
    expected = 100 + 255 * 0.2 * (2 * (np.arange(count) + 0.5) / count - 1)
    np.testing.assert_allclose(sorted(view[0, 0, 0, 0] for view in views), expected, rtol=1e-5)
