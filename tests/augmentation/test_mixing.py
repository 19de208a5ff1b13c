"""MixUp and CutMix: shares of images, labels and weights, in a graph and with XLA."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import beta

from transferkit.augmentation.block import AugmentationBlock
from transferkit.augmentation.mixing import _beta_quantiles

MIXING = [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}]


def one_hot_batch(count: int, height: int = 12, width: int = 18) -> tuple[np.ndarray, np.ndarray]:
    """Return images of one gray level each, so that a mean is a share, and their one-hot labels."""
    labels = np.eye(count, dtype="float32")
    images = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None], (count, height, width, 3))
    return images, labels


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 4.0, 100.0])
def test_beta_quantiles_match_scipy(alpha: float) -> None:
    probabilities = (np.arange(4096) + 0.5) / 4096
    np.testing.assert_allclose(_beta_quantiles(alpha), beta.ppf(probabilities, alpha, alpha), atol=1e-4)


@pytest.mark.parametrize("options", MIXING, ids=str)
def test_mix_batch_labels_are_the_shares_of_the_images(options: dict[str, float]) -> None:
    images, labels = one_hot_batch(16)
    block = AugmentationBlock(**options)
    mixed = 0
    for _ in range(4):
        new_images, new_labels = (np.asarray(part) for part in block.mix_batch(images, labels))
        np.testing.assert_allclose(new_labels.sum(axis=1), 1, atol=1e-6)
        # The mean gray level is that of the classes, weighted by their labels.
        np.testing.assert_allclose(new_images.mean(axis=(1, 2, 3)), new_labels @ np.arange(16), atol=1e-4)
        mixed += (new_labels.max(axis=1) < 0.99).sum()
    assert mixed > 10


def test_cutmix_pastes_one_rectangle() -> None:
    images, labels = one_hot_batch(32)
    mixed, new_labels = AugmentationBlock(cutmix=1.0).mix_batch(images, labels)
    for number, image in enumerate(np.asarray(mixed)):
        pasted = image[..., 0] != number
        rows, columns = pasted.any(axis=1), pasted.any(axis=0)
        np.testing.assert_array_equal(pasted, rows[:, None] & columns[None])
        assert np.asarray(new_labels)[number, number] == pytest.approx(1 - pasted.mean(), abs=1e-5)


def test_mixup_shares_have_the_distribution() -> None:
    images, labels = one_hot_batch(1000, 1, 1)
    new_labels = np.asarray(AugmentationBlock(mixup=0.5).mix_batch(images, labels)[1])
    shares = np.diagonal(new_labels)
    assert shares.min() >= 0.5, "the image itself has the larger share"
    # The variance of Beta(0.5, 0.5) is 1/8.
    assert ((shares - 0.5) ** 2).mean() == pytest.approx(1 / 8, abs=0.01)


def test_both_are_chosen_by_batch() -> None:
    images, labels = one_hot_batch(8)
    block = AugmentationBlock(mixup=1.0, cutmix=1.0)
    kinds = []
    for _ in range(40):
        mixed = np.asarray(block.mix_batch(images, labels)[0])
        blended = (mixed % 1 > 1e-3) & (mixed % 1 < 0.999)
        kinds.append(bool(blended.any()))
    assert 8 < sum(kinds) < 32


def test_mix_batch_mixes_sample_weights() -> None:
    images, labels = one_hot_batch(8)
    weights = np.arange(8, dtype="float32")
    _, new_labels, new_weights = AugmentationBlock(mixup=0.5).mix_batch(images, labels, weights)
    np.testing.assert_allclose(new_weights, np.asarray(new_labels) @ weights, atol=1e-5)
    columns = AugmentationBlock(mixup=0.5).mix_batch(images, labels, weights[:, None])[2]
    np.testing.assert_allclose(np.asarray(columns)[:, 0], new_weights, atol=1e-6)


@pytest.mark.parametrize("options", MIXING, ids=str)
def test_batch_of_one_image_is_unchanged(options: dict[str, float]) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (1, 5, 7, 3)).astype("float32")
    mixed, labels = AugmentationBlock(**options).mix_batch(images, np.array([[0.3, 0.7]], "float32"))
    np.testing.assert_array_equal(mixed, images)
    np.testing.assert_array_equal(labels, np.array([[0.3, 0.7]], "float32"))


def test_without_mixing_batch_is_unchanged() -> None:
    images, labels = one_hot_batch(4)
    block = AugmentationBlock()
    assert not block.mixes
    assert block.mix_batch(images, labels)[1] is labels
    assert AugmentationBlock(mixup=0.2).mixes and AugmentationBlock(cutmix=1.0).mixes


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("options", MIXING, ids=str)
def test_mixing_follows_the_seed_generator(options: dict[str, float], jit_compile: bool) -> None:
    images, labels = one_hot_batch(6)
    block = AugmentationBlock(**options)
    (state,) = [variable for variable in block.variables if variable.name == "seed_generator_state"]
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, 6])]
    in_graph = tf.function(lambda *batch: block.mix_batch(*batch), input_signature=signature, jit_compile=jit_compile)
    results: list[Any] = []
    for function in (block.mix_batch, in_graph, in_graph):
        state.assign([11, 0])
        results.append([np.asarray(part) for part in function(images, labels)])
    for part in range(2):
        if not jit_compile:  # XLA generates other random numbers.
            np.testing.assert_allclose(results[0][part], results[1][part], atol=1e-4)
        np.testing.assert_array_equal(results[1][part], results[2][part])
    following = in_graph(images, labels)
    assert np.abs(np.asarray(following[0]) - results[1][0]).max() > 0.01


def test_mix_batch_class_indices_raise() -> None:
    with pytest.raises(ValueError, match=r"must be one-hot or soft labels \(n, units\).*shape \(4,\)"):
        AugmentationBlock(mixup=0.2).mix_batch(np.zeros((4, 2, 2, 3)), np.arange(4))
    with pytest.raises(ValueError, match="`mixup` must be a finite number of at least 0. Received: -1"):
        AugmentationBlock(mixup=-1)


def test_config_has_only_options_that_are_on() -> None:
    assert "mixup" not in AugmentationBlock().get_config()
    block = AugmentationBlock(mixup=0.2, cutmix=1.0)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
    assert (restored.mixup, restored.cutmix) == (0.2, 1.0)
