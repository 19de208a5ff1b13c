"""The augmentation block: what it does in training, and that a draw follows from its seed alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from transferkit.augmentation.block import AugmentationBlock

EVERYTHING = {
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


def test_images_are_left_alone_outside_training(image: np.ndarray) -> None:
    block = AugmentationBlock(**EVERYTHING)
    np.testing.assert_array_equal(block(image[None]), image[None])
    np.testing.assert_array_equal(block(image[None], training=False), image[None])


@pytest.mark.parametrize("only", [{name: value} for name, value in EVERYTHING.items()])
def test_each_variation_changes_images_in_training_and_draws(image: np.ndarray, only: dict[str, Any]) -> None:
    block = AugmentationBlock(**{"flip": None, **only})
    batch = np.repeat(image[None], 16, axis=0)
    assert np.abs(np.asarray(block(batch, training=True)) - batch).max() > 1
    draws = np.asarray(block.draw(batch, [(0, n) for n in range(16)]))
    assert np.abs(draws - batch).max() > 1
    assert draws.shape == batch.shape


def test_a_flip_is_a_flip_and_comes_half_of_the_time(image: np.ndarray) -> None:
    block = AugmentationBlock(flip="horizontal")
    draws = np.asarray(block.draw(np.repeat(image[None], 200, axis=0), [(7, n) for n in range(200)]))
    flipped = sum(np.allclose(drawn, image[:, ::-1], atol=1e-2) for drawn in draws)
    assert flipped + sum(np.allclose(drawn, image, atol=1e-2) for drawn in draws) == 200
    assert 70 < flipped < 130


def test_a_draw_follows_from_its_seed_whatever_stands_beside_it(image: np.ndarray) -> None:
    block = AugmentationBlock(**EVERYTHING)
    together = np.asarray(block.draw(np.stack([image, image, image]), [(1, 2), (1, 3), (1, 2)]))
    np.testing.assert_array_equal(together[0], together[2])
    assert np.abs(together[0] - together[1]).max() > 1
    alone = np.asarray(block.draw(image[None], [(1, 3)]))
    np.testing.assert_allclose(together[1], alone[0], atol=1e-3)


def test_a_quarter_turn_by_hand() -> None:
    block = AugmentationBlock(flip=None, rotation=0.5)
    numbers = np.full((1, 10), 0.75, "float32")  # Half of the largest turn: a quarter of the circle.
    picture = np.arange(27, dtype="float32").reshape(1, 3, 3, 3)
    turned = np.asarray(block._vary(keras.ops.convert_to_tensor(picture), keras.ops.convert_to_tensor(numbers)))
    np.testing.assert_allclose(turned[0], np.rot90(picture[0]), atol=1e-3)


def test_a_turn_shows_what_keras_shows(image: np.ndarray) -> None:
    ours = AugmentationBlock(flip=None, rotation=0.1)
    theirs = keras.layers.RandomRotation((0.05, 0.05))
    numbers = np.full((1, 10), 0.75, "float32")  # Half of the largest turn: 0.05 of the circle.
    mine = np.asarray(ours._vary(keras.ops.convert_to_tensor(image[None]), keras.ops.convert_to_tensor(numbers)))
    expected = {np.abs(mine - np.asarray(theirs(image[None], training=True))).max()}
    expected.add(
        np.abs(mine - np.asarray(keras.layers.RandomRotation((-0.05, -0.05))(image[None], training=True))).max()
    )
    assert min(expected) < 0.1


def test_draws_are_the_same_inside_a_graph(image: np.ndarray) -> None:
    block = AugmentationBlock(**EVERYTHING)
    numbers = tf.constant(np.random.default_rng(0).random((2, 10), np.float32))
    batch = tf.constant(np.stack([image, image]))
    inside = tf.data.Dataset.from_tensors((batch, numbers)).map(block._vary)
    np.testing.assert_allclose(next(iter(inside)), block._vary(batch, numbers), atol=1e-2)


def test_flip_and_turn_are_independent(image: np.ndarray) -> None:
    block = AugmentationBlock(flip="horizontal", rotation=0.2)
    blank = np.zeros((32, 32, 3), "float32")
    blank[:, 16:, 0] = 255  # The right half is red: after a flip alone the left one is.
    blank[:16, :, 1] = 255  # The upper half is green: a turn moves it sideways.
    kinds = set()
    for drawn in np.asarray(block.draw(np.repeat(blank[None], 60, axis=0), [(3, number) for number in range(60)])):
        kinds.add((drawn[:, 24:, 0].mean() > 127, drawn[8:24, :8, 1].mean() > drawn[8:24, 24:, 1].mean()))
    assert len(kinds) == 4


def test_the_same_seed_gives_the_same_training_draws(image: np.ndarray) -> None:
    batch = np.repeat(image[None], 4, axis=0)
    first, second, third = (np.asarray(AugmentationBlock(zoom=0.3, seed=s)(batch, training=True)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - third).max() > 1


def test_the_config_makes_an_equal_block() -> None:
    block = AugmentationBlock(**EVERYTHING, fill_mode="constant", seed=5)
    assert AugmentationBlock.from_config(block.get_config()).get_config() == block.get_config()


def test_it_is_saved_and_loaded_with_a_model(tmp_path: Any) -> None:
    images = keras.Input((8, 8, 3))
    keras.Model(images, AugmentationBlock(zoom=0.2)(images)).save(tmp_path / "m.keras")
    assert keras.saving.load_model(tmp_path / "m.keras").layers[1].zoom == 0.2


def test_show_draws_nine_variants(image: np.ndarray, tmp_path: Any) -> None:
    figure = AugmentationBlock(rotation=0.2).show(image, tmp_path / "nine.png")
    assert len(figure.axes) == 9
    assert (tmp_path / "nine.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rotation": 1.5}, "`rotation` must be in [0, 1]. Received: 1.5."),
        ({"zoom": "much"}, "`zoom` must be in [0, 1]. Received: 'much'."),
        ({"flip": "horizontl"}, "Received: 'horizontl'. Did you mean 'horizontal'?"),
        ({"fill_mode": "mirror"}, "`fill_mode` must be one of 'reflect', 'constant', 'wrap', 'nearest'."),
        ({"seed": -1}, "`seed` must be an integer of at least 0. Received: -1."),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as error:
        AugmentationBlock(**arguments)
    assert text in str(error.value)
