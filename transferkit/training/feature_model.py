"""A model that trains on several batches per call: a step on features takes less time than calling it from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from transferkit.modeling.keras_graph import all_layers
from transferkit.modeling.partition import ModelPartition, partition_model
from transferkit.modeling.precision import mixed_precision_layers, precision_scope
from transferkit.training.evaluation import EvaluationStep, make_evaluation_step
from transferkit.training.guards import NonFiniteLossError
from transferkit.training.losses import to_columns

_MAX_STEPS = 64


def steps_per_call(steps: int) -> int:
    """Return how many of an epoch's `steps` to take per call: all, or about equal parts of at most 64.

    >>> steps_per_call(25), steps_per_call(100)
    (25, 50)
    """
    calls = -(-steps // _MAX_STEPS)
    return -(-steps // calls)


class FeatureModel(keras.Model):
    """The trained part of a classifier, which shares its layers.

    `fit` takes `steps_per_execution` steps per call. Unlike Keras' own function, a call never takes batches of the next
    epoch, and it is traced in half the time, because it does not check before each step whether there is another batch.

    Args:
        inputs, outputs: Keras tensors.
        precision: "float32", "bfloat16" or "float16". Layers have the reduced policy only while a step is traced, so
            callbacks and saved files see a float32 model.

    Attributes:
        num_steps: batches per epoch; epochs follow one another in one dataset.
        num_validation_steps: batches of the validation data, which is repeated.
        mixing: the augmentation layer that mixes images and labels of each training batch, or None.
    """

    train_function: Any
    test_function: Any

    def __init__(self, inputs: Any, outputs: Any, *, precision: str = "float32", name: str | None = None) -> None:
        super().__init__(inputs, outputs, name=name)
        self.compute_precision = precision
        self.num_steps = self.num_validation_steps = 1
        self._mixing: list[Any] = []

    def mix_batches(self, augmentation: Any) -> None:
        """Mix images and labels of each training batch by MixUp or CutMix of an augmentation layer."""
        # In a list, Keras would take a layer of the classifier for one of this model, and count its states twice.
        self._mixing = [lambda *batch: augmentation.mix_batch(*batch)]

    def train_step(self, data: Any) -> Any:
        """Run one training step in the precision of the model."""
        for mix in self._mixing:
            images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
            data = mix(images, to_columns(labels, self.output_shape[-1]), *(() if weights is None else (weights,)))
        if self.compute_precision == "float32":
            return super().train_step(data)
        with precision_scope(self.compute_precision, mixed_precision_layers(self)):
            return super().train_step(data)

    def test_step(self, data: Any) -> Any:
        """Run one validation step in the precision of the model."""
        if self.compute_precision == "float32":
            return super().test_step(data)
        with precision_scope(self.compute_precision, mixed_precision_layers(self)):
            return super().test_step(data)

    def make_train_function(self, force: bool = False) -> None:
        """Create the function that `fit` calls."""
        if self.train_function is None or force:
            self.train_function = _MultiStepFunction(self, self.train_step, "num_steps", check_loss=True)

    def make_test_function(self, force: bool = False) -> None:
        """Create the function that validation calls."""
        if self.test_function is None or force:
            self.test_function = _MultiStepFunction(self, self.test_step, "num_validation_steps")


class _MultiStepFunction:
    def __init__(
        self, model: FeatureModel, step: Callable[[Any], Any], steps_attribute: str, *, check_loss: bool = False
    ) -> None:
        self._model, self._steps_attribute, self._check_loss = model, steps_attribute, check_loss
        self._step = tf.function(step, jit_compile=True, reduce_retracing=True) if model.jit_compile else step
        self._iterator, self._taken = None, 0
        self._traced: dict[tuple[str, bool], Any] = {}

    def __call__(self, iterator: Any) -> dict[str, tf.Tensor]:
        steps = getattr(self._model, self._steps_attribute)
        if iterator is not self._iterator:
            self._iterator, self._taken = iterator, 0
        count, first = min(self._model.steps_per_execution, steps - self._taken), self._taken
        self._taken = (self._taken + count) % steps
        # Traced explicitly and kept, so that further fits of the same model do not trace again.
        key = str(iterator.element_spec), steps == 1
        if key not in self._traced:
            run = tf.function(self._run_once if steps == 1 else self._run, autograph=False)
            self._traced[key] = run.get_concrete_function(iterator, tf.TensorSpec([], tf.int32))
        logs, taken, is_finite = self._traced[key](iterator, tf.constant(count))
        if self._check_loss and not is_finite:
            raise NonFiniteLossError(first + int(taken) - 1)
        return logs

    def _run(self, iterator: Any, count: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        def body(taken: tf.Tensor, is_finite: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return taken + 1, self._take(iterator)

        # Stops at a loss that is not finite, so that the step is known.
        taken, is_finite = tf.while_loop(
            lambda taken, is_finite: (taken < count) & is_finite, body, [tf.constant(0), tf.constant(True)]
        )
        return self._model.get_metrics_result(), taken, is_finite

    def _run_once(self, iterator: Any, count: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        is_finite = self._take(iterator)
        return self._model.get_metrics_result(), count, is_finite

    def _take(self, iterator: Any) -> tf.Tensor:
        logs = self._step(iterator.get_next())
        return tf.math.is_finite(logs["loss"]) if self._check_loss else tf.constant(True)


class ModelParts:
    """The partition of a classifier and the models to fit.

    Attributes:
        partition: the `ModelPartition`.
    """

    def __init__(self, model: keras.Model, state: tuple[Any, ...]) -> None:
        self.partition: ModelPartition = partition_model(model)
        self._model, self._state = model, state
        self._fitted: dict[tuple[str, str], FeatureModel] = {}
        self._steps: dict[str, EvaluationStep] = {}

    @classmethod
    def of(cls, model: keras.Model, previous: ModelParts | None) -> ModelParts:
        """Return the parts of `model`: the previous ones, with their compiled functions, until `trainable` changes."""
        state = tuple((id(layer), layer.trainable) for layer in all_layers(model))
        return previous if previous is not None and previous._state == state else cls(model, state)

    def to_fit(self, trained_on: str, precision: str, kind: type[FeatureModel] = FeatureModel) -> keras.Model:
        """Return the model to fit on "features" or on "images", a `kind` that shares the layers of the classifier.

        On images it is the classifier itself, but in reduced precision, with MixUp or on several devices.
        """
        source = self.partition.trainable if trained_on == "features" else self._model
        mixes = getattr(self.partition.augmentation, "mixes", False)
        if trained_on == "images":
            reasons = {
                "no `strategy`": kind is not FeatureModel,
                "no mixup or cutmix": mixes,
                "precision='float32'": precision != "float32",
            }
            needed = [text for text, is_needed in reasons.items() if is_needed]
            if not needed:
                return source
            if type(source).train_step is not keras.Model.train_step:
                raise ValueError(
                    "`model` must have the train_step of Keras for these options. Received: a model that overrides it. "
                    f"Use {' and '.join(needed)}, or the train_step of keras.Model."
                )
        key = trained_on, precision
        if key not in self._fitted:
            inputs = source.inputs[0] if len(source.inputs) == 1 else source.inputs
            fitted = kind(inputs, source.outputs[0], precision=precision, name=source.name)
            if mixes:
                fitted.mix_batches(self.partition.augmentation)
            self._fitted[key] = fitted
        return self._fitted[key]

    def evaluation_step(self, evaluated_on: str) -> EvaluationStep:
        """Return the function that evaluates the model on "features" or on "images"."""
        if evaluated_on not in self._steps:
            source = self.partition.trainable if evaluated_on == "features" else self._model
            self._steps[evaluated_on] = make_evaluation_step(source, jit_compile=bool(self._model.jit_compile))
        return self._steps[evaluated_on]
