"""The TensorFlow function that is exported: from images to probabilities or numbers, with constant weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transferkit.calibration import Calibration
from transferkit.engines import select_outputs
from transferkit.engines.portable_operations import portable_operations
from transferkit.prediction import Predictor
from transferkit.runtimes.base import FEATURES, IMAGE

_UNCALIBRATED = Calibration()


@dataclasses.dataclass(frozen=True, eq=False)
class ExportedFunction:
    """A function of images (batch, height, width, 3), RGB in [0, 255], in any batch size.

    Attributes:
        frozen: the TensorFlow function, whose weights are constants.
        outputs: names of its outputs, in order.
    """

    frozen: Any
    outputs: tuple[str, ...]

    @property
    def graph(self) -> tf.Graph:
        """The graph, whose input is "image" and whose outputs have the names in `outputs`."""
        return self.frozen.graph

    def signature(self) -> Any:
        """Return a TensorFlow function from images to a dict of the outputs, for a SavedModel."""
        spec = self.frozen.inputs[0]

        @tf.function(input_signature=[tf.TensorSpec(spec.shape, spec.dtype, name=IMAGE)], autograph=False)
        def predict(image: tf.Tensor) -> dict[str, tf.Tensor]:
            outputs = self.frozen(image)
            return dict(zip(self.outputs, outputs if isinstance(outputs, (list, tuple)) else [outputs]))

        return predict


def exported_function(
    predictor: Predictor, *, input_dtype: str = "float32", features: bool = False, half_weights: bool = False
) -> ExportedFunction:
    """Return the function of a predictor: preprocessing, model, temperature and activation.

    Args:
        predictor: with a keras.Model.
        input_dtype: "float32" or "uint8", of the images.
        features: whether the features are a second output.
        half_weights: whether weights are stored as float16; the function computes in float32.
    """
    model = select_outputs(predictor.model, "both" if features else "predictions")
    names = (predictor.outputs.name, *((FEATURES,) if features else ()))
    variables = model.trainable_variables, model.non_trainable_variables
    values = [[_stored(np.asarray(variable), half_weights) for variable in group] for group in variables]

    @tf.function(
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), input_dtype, name=IMAGE)], autograph=False
    )
    def forward(image: tf.Tensor) -> list[tf.Tensor]:
        trainable, others = ([_restored(value, like) for value, like in zip(*pair)] for pair in zip(values, variables))
        outputs, _ = model.stateless_call(trainable, others, tf.cast(image, tf.float32), training=False)
        first, *others_ = (tf.cast(output, tf.float32) for output in keras.tree.flatten(outputs))
        return [tf.identity(output, name) for output, name in zip([_values(first, predictor), *others_], names)]

    with portable_operations(model):
        traced = forward.get_concrete_function()
    return ExportedFunction(convert_variables_to_constants_v2(traced), names)


def _values(outputs: tf.Tensor, predictor: Predictor) -> tf.Tensor:
    """Return the probabilities (batch, classes), or the numbers (batch, 1), of a model's outputs (batch, units)."""
    logits = outputs / np.float32((predictor.calibration or _UNCALIBRATED).temperature)
    if predictor.activation == "softmax":
        return tf.nn.softmax(logits)
    if predictor.activation in ("linear", None):
        return outputs
    probabilities = tf.sigmoid(logits)
    if outputs.shape[-1] == 1 and len(predictor.class_names) == 2:
        # The probability of the first class, not one minus that of the second, which would be rounded to 0.
        return tf.concat([tf.sigmoid(-logits), probabilities], axis=-1)
    return probabilities


def _stored(value: np.ndarray, half: bool) -> np.ndarray:
    return value.astype(np.float16) if half and value.dtype == np.float32 else value


def _restored(value: np.ndarray, variable: Any) -> tf.Tensor:
    constant = tf.constant(value)
    return constant if value.dtype != np.float16 else tf.cast(constant, variable.dtype)
