"""A classifier's logits and their gradients, as TensorFlow functions that are traced once for a model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from transferkit.engines.portable_operations import portable_operations
from transferkit.explanation.target_layer import FeatureMap
from transferkit.modeling.image_model import check_image_model
from transferkit.modeling.keras_graph import call_observed
from transferkit.modeling.precision import float32_scope

# Entry of `classes` for the class with the largest output.
PREDICTED = -1
_ATTRIBUTE = "_transferkit_explained"
# Rows that methods with many calls per image compute at a time, when there are fewer images.
ROWS_PER_CALL = 16
# Probabilities below it have this logarithm, so that no gradient is infinite.
_MIN_PROBABILITY = 1e-30


class MapGradients(NamedTuple):
    """The feature maps of images and the gradients of class scores with respect to them, and the model's outputs."""

    maps: np.ndarray
    gradients: np.ndarray
    outputs: np.ndarray


class ExplainedModel:
    """Computes a model in inference mode, in float32, without changes to its variables.

    The score of a class is its logit, that of a number the number; of the first of two classes with one logit, the
    negated logit; of a model that returns probabilities, the logarithm of the probability.

    Args:
        model: functional keras.Model from images to logits or probabilities.
        activation: "sigmoid", "softmax", None or "linear", as of a `Predictor`.
        num_classes: int, 0 for numbers.
    """

    def __init__(self, model: keras.Model, activation: str | None, num_classes: int) -> None:
        self._model, self._activation, self._num_classes = model, activation, num_classes
        self._functions: dict[Any, Callable[..., Any]] = {}
        self._lock = threading.Lock()

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return tuple(self._model.input_shape[1:3])

    @property
    def model(self) -> keras.Model:
        """The Keras model."""
        return self._model

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs of the model, float32 (n, units)."""
        return self._function("outputs", lambda batch, classes: self._run(batch))(images, _no_classes(images)).numpy()

    def scores(self, outputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return the scores (n,) of one class for each row of outputs (n, units)."""
        return self._scores(tf.constant(outputs, tf.float32), tf.constant(classes, tf.int32)).numpy()

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Return the index of the class with the largest score for each row of outputs."""
        return self._predicted(tf.constant(outputs, tf.float32)).numpy()

    def map_gradients(self, images: np.ndarray, classes: np.ndarray, feature_map: FeatureMap) -> MapGradients:
        """Return maps and gradients (n, height, width, channels) of one class per image, or of `PREDICTED`."""

        def compute(batch: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, ...]:
            found: list[tf.Tensor] = []
            with tf.GradientTape(watch_accessed_variables=False) as tape:

                def observe(tensor: Any, value: tf.Tensor) -> None:
                    if tensor is feature_map.tensor:
                        tape.watch(value)
                        found.append(value)

                outputs = self._run(batch, observe)
                scores = self._scores(outputs, targets)
            gradients = tape.gradient(scores, found[-1], unconnected_gradients="zero")
            return tf.cast(found[-1], tf.float32), tf.cast(gradients, tf.float32), outputs

        function = self._function(("map", id(feature_map.tensor)), compute)
        return MapGradients(*(value.numpy() for value in function(images, tf.constant(classes, tf.int32))))

    def input_gradients(self, images: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradients of scores with respect to the images, and the scores (n,)."""

        def compute(batch: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(batch)
                scores = self._scores(self._run(batch), targets)
            return tape.gradient(scores, batch, unconnected_gradients="zero"), scores

        gradients, scores = self._function("input", compute)(images, tf.constant(classes, tf.int32))
        return gradients.numpy(), scores.numpy()

    def _run(self, batch: tf.Tensor, observe: Callable[[Any, Any], None] = lambda *_: None) -> tf.Tensor:
        return tf.cast(call_observed(self._model, batch, observe)[0], tf.float32)

    def _scores(self, outputs: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        classes = tf.where(classes == PREDICTED, self._predicted(outputs), classes)
        if self._activation is None:
            outputs = tf.math.log(tf.maximum(outputs, _MIN_PROBABILITY))
        if self._has_one_logit(outputs):
            return outputs[:, 0] * tf.cast(2 * classes - 1, tf.float32)
        return tf.gather(outputs, classes, batch_dims=1)

    def _predicted(self, outputs: tf.Tensor) -> tf.Tensor:
        if self._has_one_logit(outputs):
            return tf.cast(outputs[:, 0] > 0, tf.int32)
        # Of a number, it is the only output.
        return tf.argmax(outputs, axis=-1, output_type=tf.int32)

    def _has_one_logit(self, outputs: tf.Tensor) -> bool:
        return self._num_classes == 2 and outputs.shape[-1] == 1

    def _function(self, key: Any, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return `compute` as a function of images and classes, traced at most once for a key."""
        with self._lock:
            if key not in self._functions:
                signature = [
                    tf.TensorSpec((None, *self._model.input_shape[1:]), tf.float32),
                    tf.TensorSpec((None,), tf.int32),
                ]
                function = tf.function(compute, input_signature=signature, autograph=False)
                # In the scope nothing that a layer assigns, or adds to the loss, remains.
                with (
                    portable_operations(self._model),
                    float32_scope(self._model),
                    keras.StatelessScope(collect_losses=True),
                ):
                    self._functions[key] = function.get_concrete_function()
            traced = self._functions[key]
        return lambda images, classes: traced(tf.constant(images, tf.float32), classes)


def explained_model(model: Any, activation: str | None, num_classes: int) -> ExplainedModel:
    """Return the `ExplainedModel` of a model; its traced functions are kept with the model, for later calls.

    Raises:
        TypeError: when `model` is no keras.Model.
        ValueError: when it is not functional, or not from images.
    """
    check_image_model(model)
    # Not by setattr, with which Keras would look for layers and variables in it.
    known = model.__dict__.setdefault(_ATTRIBUTE, _Kept())
    return known.setdefault((activation, num_classes), ExplainedModel(model, activation, num_classes))


class _Kept(dict[Any, ExplainedModel]):
    """The explained models of one Keras model, which a copy or a saved file of it does not contain."""

    def __deepcopy__(self, memory: Any) -> _Kept:
        return _Kept()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Kept, ()


def _no_classes(images: np.ndarray) -> tf.Tensor:
    return tf.zeros(len(images), tf.int32)
