"""Explanations leave the model unchanged, run in inference mode and in float32, and trace a model once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from tests.explanation.conftest import NAMES, make_model, make_predictor
from transferkit.explanation.explained_model import explained_model
from transferkit.modeling.keras_graph import all_layers

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("uint8")


def stateful_model(policy: str = "float32") -> keras.Model:
    """Return a compiled model with batch normalization, dropout, noise and a penalty of activations."""
    keras.utils.set_random_seed(0)
    images = keras.Input((16, 16, 3))
    options: dict[str, Any] = {"dtype": policy}
    x = keras.layers.Rescaling(1 / 255, **options)(images)
    penalty = "l2" if policy == "float32" else None
    x = keras.layers.Conv2D(6, 3, activity_regularizer=penalty, **options)(x)
    x = keras.layers.BatchNormalization(**options)(x)
    x = keras.layers.GaussianNoise(0.5, **options)(keras.layers.ReLU(**options)(x))
    x = keras.layers.Dropout(0.5, **options)(keras.layers.GlobalAveragePooling2D(**options)(x))
    model = keras.Model(images, keras.layers.Dense(3, dtype="float32")(x))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(IMAGES.astype("float32"), np.array([0, 1, 2]), verbose=0)
    return model


@pytest.fixture(scope="module")
def fitted() -> keras.Model:
    return stateful_model()


def state_of(model: keras.Model) -> list[Any]:
    values = [np.asarray(variable.value.value()) for variable in (*model.variables, *model.optimizer.variables)]
    layers = [
        (layer.name, layer.trainable, layer.dtype_policy.name, len(layer._inbound_nodes)) for layer in model.layers
    ]
    return [layers, *(value.tolist() for value in values)]


@pytest.mark.parametrize("method", tk.explanation.METHODS)
def test_explaining_changes_nothing_in_the_model(fitted: keras.Model, method: str) -> None:
    before = state_of(fitted)
    tk.explain(make_predictor(fitted), IMAGES, method)
    assert state_of(fitted) == before
    # No penalty of a traced call, which would be an error in the next training step.
    assert fitted.losses == []
    fitted.fit(IMAGES.astype("float32"), np.array([0, 1, 2]), verbose=0)


def test_model_runs_in_inference_mode(fitted: keras.Model) -> None:
    outputs = explained_model(fitted, "softmax", 3).outputs(IMAGES.astype("float32"))
    np.testing.assert_allclose(outputs, fitted(IMAGES.astype("float32"), training=False), rtol=1e-4, atol=1e-5)


def test_16_bit_layers_compute_in_float32() -> None:
    reference, half = stateful_model(), stateful_model("mixed_bfloat16")
    half.set_weights(reference.get_weights())
    maps = [tk.explain(make_predictor(model), IMAGES, class_name="bee") for model in (reference, half)]
    for one, other in zip(*maps):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-4, atol=1e-6)
    assert {layer.dtype_policy.name for layer in all_layers(half)} >= {"mixed_bfloat16"}


def test_model_is_traced_once_for_all_batches(image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[str] = []
    original = tf.function

    def record(*args: Any, **options: Any) -> Any:
        traced.extend(function.__name__ for function in args)
        return original(*args, **options)

    monkeypatch.setattr(tf, "function", record)
    model = make_model()
    for count in (1, 3, 2):
        tk.explain(make_predictor(model), np.stack([image] * count))
    assert traced.count("compute") == 1


def test_new_weights_are_used_without_tracing(image: np.ndarray) -> None:
    model = make_model()
    first = tk.explain(make_predictor(model), image, class_name="ant")
    kernel = model.get_layer("logits").kernel
    kernel.assign(2 * kernel)
    second = tk.explain(make_predictor(model), image, class_name="ant")
    np.testing.assert_allclose(second.values, 2 * first.values, rtol=1e-6)


def test_explained_model_can_be_saved_and_copied(image: np.ndarray, tmp_path: Path) -> None:
    model = make_model()
    tk.explain(make_predictor(model), image)
    model.save(tmp_path / "model.keras")
    copied = copy.deepcopy(model)
    explained = tk.explain(make_predictor(copied), image)
    np.testing.assert_allclose(explained.values, [[50, 0], [5, 0]], atol=1e-4)


def test_bare_model_or_subclass_raises(image: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"`predictor` must be a Predictor or a Trainer\. Received: Functional"):
        tk.explain(make_model(), image)
    with pytest.raises(ValueError, match="`class_name` must be one of 'ant', 'bee', 'cat'. Received: 'dog'"):
        tk.explain(make_predictor(make_model(), NAMES), image, class_name="dog")
