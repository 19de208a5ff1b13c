"""Loss and metrics for logits."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.training.objective import Objective, objective_for


def test_accuracy_threshold_is_logit_zero(data: Data) -> None:
    model = small_classifier()
    # Probability 0.55, logit 0.2: Keras' accuracy, made for probabilities, would predict the first class.
    model.get_layer("logits").set_weights([np.zeros((16, 1)), np.array([0.2])])
    trainer = tk.Trainer(model)
    fraction_of_dogs = np.mean(data.splits["test"].labels == 1)
    assert trainer.model.evaluate(data.test, verbose=0)[1] == pytest.approx(fraction_of_dogs)
    assert trainer.evaluate(data.test).accuracy == pytest.approx(fraction_of_dogs)


@pytest.mark.parametrize(
    ("options", "expected", "activation"),
    [
        ({"num_classes": 2}, Objective("binary", 1), "sigmoid"),
        ({"num_classes": 3}, Objective("multi_class", 3), "softmax"),
        ({"num_classes": 2, "multi_label": True}, Objective("multi_label", 2), "sigmoid"),
    ],
)
def test_objective_for_head(options: dict[str, Any], expected: Objective, activation: str) -> None:
    objective = objective_for(small_classifier(**options), multi_label=options.get("multi_label", False))
    assert objective == expected and objective.activation == activation


def test_objective_loss_of_by_hand() -> None:
    assert Objective("binary", 1).loss_of(np.array([1, 0]), np.zeros((2, 1))) == pytest.approx(np.log(2))
    logits = np.log([[1.0, 2.0, 5.0]])
    assert Objective("multi_class", 3).loss_of(np.array([2]), logits) == pytest.approx(np.log(8 / 5), abs=1e-6)
    labels, logits = np.array([[1.0, 0.0]]), np.array([[0.0, np.log(3)]])
    expected = (np.log(2) + np.log(4)) / 2
    assert Objective("multi_label", 2).loss_of(labels, logits) == pytest.approx(expected, abs=1e-6)


def test_objective_for_probabilities_raises() -> None:
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")])
    with pytest.raises(ValueError, match="must end in logits.*'sigmoid'.*Remove the activation"):
        tk.Trainer(model)


def test_objective_for_dict_of_outputs_raises() -> None:
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, {"cat": keras.layers.Dense(1)(keras.layers.Flatten()(images))})
    with pytest.raises(
        ValueError, match=r"Received: a dict .*'cat'. Write keras.Model\(model.input, model.output\['cat'"
    ):
        tk.Trainer(model)
    tk.Trainer(keras.Model(model.input, model.output["cat"]))


def test_objective_for_feature_maps_raises() -> None:
    images = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(2, 3)(images)
    for outputs in (maps, [keras.layers.Flatten()(maps), keras.layers.Flatten()(maps)]):
        with pytest.raises(ValueError, match=r"must be logits of shape \(batch, units\).*End the model with a"):
            tk.Trainer(keras.Model(images, outputs))
