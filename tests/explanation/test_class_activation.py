"""Class activation maps by hand: the mean of the feature map is (50, 25, 10), the logits are 55, 40 and -25."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.explanation.conftest import KERNEL, NAMES, make_model, make_predictor
from transferkit.calibration import Calibration
from transferkit.explanation.class_activation import class_activation_map

LAYER_CAM = tk.explanation.ClassActivation("layer_cam", layer="conv")


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam"])
def test_map_of_pooled_linear_head_is_weighted_sum(predictor: Any, image: np.ndarray, method: str) -> None:
    explanation = tk.explain(predictor, image, method)
    assert (explanation.class_name, explanation.method) == ("ant", method)
    np.testing.assert_allclose(explanation.values, [[50, 0], [5, 0]], atol=1e-4)


def test_heatmap_is_resized_and_scaled_to_one(predictor: Any, image: np.ndarray) -> None:
    heatmap = tk.explain(predictor, image).heatmap
    assert (heatmap.dtype, heatmap.shape) == (np.float32, (4, 4))
    np.testing.assert_allclose(heatmap[0], [1, 0.75, 0.25, 0], atol=1e-6)
    np.testing.assert_allclose(heatmap[:, 0], [1, 0.775, 0.325, 0.1], atol=1e-6)


def test_heatmap_of_layers_without_padding_is_in_the_middle() -> None:
    inputs = keras.Input((12, 12, 3))
    maps = keras.layers.Conv2D(1, 6, strides=3, kernel_initializer="ones", name="conv")(inputs)
    logits = keras.layers.Dense(2, kernel_initializer="ones")(keras.layers.GlobalAveragePooling2D()(maps))
    image = np.zeros((12, 12, 3), np.uint8)
    image[:3, :3] = 100
    explanation = tk.explain(make_predictor(keras.Model(inputs, logits), ("a", "b")), image)
    # The first of three positions, three pixels apart, has the middle 2.5 of its six pixels.
    assert explanation.values.shape == (3, 3)
    np.testing.assert_allclose(explanation.heatmap[0], [1, 1, 1, 5 / 6, 1 / 2, 1 / 6, 0, 0, 0, 0, 0, 0], atol=1e-6)


def test_grad_cam_keeps_negative_values_out_of_heatmap(predictor: Any, image: np.ndarray) -> None:
    explanation = tk.explain(predictor, image, class_name="cat")
    np.testing.assert_allclose(explanation.values, [[-50, 25], [0, 0]], atol=1e-4)
    assert explanation.heatmap[0].tolist() == [0, 0.25, 0.75, 1]


def test_layer_cam_counts_positive_gradients_only(predictor: Any, image: np.ndarray) -> None:
    explanation = tk.explain(predictor, image, LAYER_CAM, class_name="cat")
    np.testing.assert_allclose(explanation.values, [[0, 25], [0, 0]], atol=1e-4)


def test_grad_cam_plus_plus_equals_hand_computed_value(predictor: Any, image: np.ndarray) -> None:
    # Gradient 0.5 of the second channel, whose sum is 100: coefficients 0.25 / (0.5 + 0.125 * 100), at 4 positions.
    explanation = tk.explain(predictor, image, "grad_cam++", class_name="bee")
    np.testing.assert_allclose(explanation.values, [[0, 100 * 4 * 0.5 * 0.25 / 13], [0, 0]], rtol=1e-5)


def test_hires_cam_differs_where_gradients_differ() -> None:
    maps, gradients = np.array([[[[1.0], [2.0]]]]), np.array([[[[4.0], [-2.0]]]])
    assert class_activation_map("grad_cam", maps, gradients).tolist() == [[[1.0, 2.0]]]
    assert class_activation_map("hires_cam", maps, gradients).tolist() == [[[4.0, -4.0]]]
    assert class_activation_map("layer_cam", maps, gradients).tolist() == [[[4.0, 0.0]]]


def test_first_class_of_one_logit_has_negated_map(image: np.ndarray) -> None:
    binary = make_predictor(make_model(2), ("no", "yes"), "sigmoid")
    yes, no = (tk.explain(binary, image, class_name=name) for name in ("yes", "no"))
    np.testing.assert_allclose(yes.values, [[50, 0], [5, 0]], atol=1e-4)
    np.testing.assert_array_equal(no.values, -yes.values)
    assert yes.probability + no.probability == pytest.approx(1)
    assert not no.heatmap.any() and no.peak is None


def test_independent_labels_are_explained_one_by_one(image: np.ndarray) -> None:
    labels = make_predictor(make_model(multi_label=True), NAMES, "sigmoid")
    values = [tk.explain(labels, image, class_name=name).values for name in NAMES]
    np.testing.assert_allclose(values, [[[50, 0], [5, 0]], [[0, 50], [-10, 0]], [[-50, 25], [0, 0]]], atol=1e-4)


def test_model_of_probabilities_uses_their_logarithm(image: np.ndarray) -> None:
    model = make_model()
    probabilities = keras.Model(model.inputs, keras.layers.Softmax()(model.outputs[0]))
    dark = np.minimum(image, 4)
    explanation = tk.explain(make_predictor(probabilities, activation=None), dark, class_name="bee")
    maps = dark[::2, ::2].astype(float)
    logits = maps.mean(axis=(0, 1)) @ KERNEL
    p = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(explanation.values, maps @ (KERNEL[:, 1] - KERNEL @ p) / 4, rtol=1e-4, atol=1e-5)
    assert explanation.probability == pytest.approx(p[1], rel=1e-5)


def test_calibrated_threshold_selects_explained_class(image: np.ndarray) -> None:
    model, spec = make_model(2), tk.ImageSpec((4, 4))
    options = {"activation": "sigmoid", "calibration": Calibration(thresholds=(0.99,))}
    strict = tk.Predictor(model, ("no", "yes"), spec, **options)
    images = np.stack([image, np.minimum(image, 1)])
    explained = tk.explain(strict, images)
    assert [one.class_name for one in explained] == [one.label for one in strict.predict(images)]
    assert explained[1].class_name == "no" and explained[1].values[0, 0] < 0


@pytest.mark.parametrize("pooling", [False, True])
def test_map_inside_nested_backbone_is_found(image: np.ndarray, pooling: bool) -> None:
    explanation = tk.explain(make_predictor(make_model(pooling=pooling)), image)
    np.testing.assert_allclose(explanation.values, [[50, 0], [5, 0]], atol=1e-4)


def test_unknown_name_or_layer_raises(predictor: Any, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"`name` must be one of .* Did you mean 'grad_cam'"):
        tk.explanation.ClassActivation("gradcam")
    with pytest.raises(ValueError, match=r"`layer` must be the name of a layer .* Did you mean 'conv'"):
        tk.explain(predictor, image, tk.explanation.ClassActivation(layer="convv"))
    with pytest.raises(ValueError, match=r"must return a feature map .*integrated_gradients"):
        tk.explain(predictor, image, tk.explanation.ClassActivation(layer="logits"))
