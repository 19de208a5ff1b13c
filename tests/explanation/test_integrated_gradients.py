"""Integrated gradients: values by hand for a linear model, completeness for others."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.explanation.conftest import make_predictor


def test_values_of_linear_model_are_input_times_weight(predictor: Any, image: np.ndarray) -> None:
    explanation = tk.explain(predictor, image, "integrated_gradients")
    blocks = [[200 / 16, 0], [0.5 * 40 / 16, 0]]
    np.testing.assert_allclose(explanation.values, np.kron(blocks, np.ones((2, 2))), rtol=1e-5)
    assert explanation.values.sum() == pytest.approx(55, rel=1e-5)


def test_mean_baseline_has_no_difference_in_linear_model(predictor: Any, image: np.ndarray) -> None:
    method = tk.explanation.IntegratedGradients(baseline="mean", steps=2)
    assert tk.explain(predictor, image, method).values.sum() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("baseline", ["black", "mean"])
def test_values_add_up_to_difference_of_logits(baseline: str) -> None:
    model = nonlinear_model()
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    method = tk.explanation.IntegratedGradients(steps=100, baseline=baseline)
    explained = tk.explain(make_predictor(model), images, method, class_name="bee")
    start = images * 0 if baseline == "black" else images.mean(axis=(1, 2), keepdims=True) + images * 0.0
    logits = [np.asarray(model(np.asarray(one, "float32"), training=False))[:, 1] for one in (images, start)]
    sums = np.array([one.values.sum() for one in explained])
    assert np.abs(logits[0] - logits[1]).min() > 0.05
    np.testing.assert_allclose(sums, logits[0] - logits[1], rtol=0.02)


def test_bad_steps_or_baseline_raises() -> None:
    with pytest.raises(ValueError, match="`steps` must be an integer of at least 1. Received: 0"):
        tk.explanation.IntegratedGradients(steps=0)
    with pytest.raises(ValueError, match="`baseline` must be one of 'black', 'mean'. Received: 'white'"):
        tk.explanation.IntegratedGradients(baseline="white")


def nonlinear_model() -> keras.Model:
    keras.utils.set_random_seed(3)
    images = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(8, 3, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="tanh")(x)
    return keras.Model(
        images, keras.layers.Dense(3, kernel_initializer="random_normal")(keras.layers.Flatten()(x) * 20)
    )
