"""The augmentation block: what it does in training, and that a draw follows from its seed alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from transferkit.augmentation import AugmentationBlock

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
    draws = np.stack([block.draw(tf.constant(image), tf.constant([0, n])) for n in range(16)])
    assert np.abs(draws - batch).max() > 1
    assert draws.shape == batch.shape


def test_a_flip_is_a_flip_and_comes_half_of_the_time(image: np.ndarray) -> None:
    block = AugmentationBlock(flip="horizontal")
    draws = [np.asarray(block.draw(tf.constant(image), tf.constant([7, n]))) for n in range(200)]
    flipped = sum(np.array_equal(drawn, image[:, ::-1]) for drawn in draws)
    assert flipped + sum(np.array_equal(drawn, image) for drawn in draws) == 200
    assert 70 < flipped < 130


def test_a_draw_follows_from_its_seed_in_a_dataset_and_outside(image: np.ndarray) -> None:
    block = AugmentationBlock(**EVERYTHING)
    seeds = tf.constant([[1, 2], [1, 3], [1, 2]])
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: block.draw(tf.constant(image), seed), num_parallel_calls=2
    )
    inside = [one.numpy() for one in dataset]
    np.testing.assert_array_equal(inside[0], inside[2])
    assert np.abs(inside[0] - inside[1]).max() > 1
    np.testing.assert_allclose(inside[1], block.draw(tf.constant(image), seeds[1]), atol=1e-3)


def test_flip_and_turn_are_independent(image: np.ndarray) -> None:
    block = AugmentationBlock(flip="horizontal", rotation=0.2)
    blank = np.zeros((32, 32, 3), "float32")
    blank[:, 16:, 0] = 255  # The right half is red: after a flip alone the left one is.
    blank[:16, :, 1] = 255  # The upper half is green: a turn moves it sideways.
    kinds = set()
    for number in range(60):
        drawn = np.asarray(block.draw(tf.constant(blank), tf.constant([3, number])))
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
