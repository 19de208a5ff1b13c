"""Training on several devices by tf.distribute.MirroredStrategy, with the losses of one device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from transferkit.modeling.keras_graph import all_layers
from transferkit.modeling.precision import mixed_precision_layers, precision_scope
from transferkit.training.feature_model import FeatureModel
from transferkit.training.losses import check_reduction
from transferkit.training.optimizers import OptimizerOptions

# Weight of rows that fill up a part; weights of images are never negative.
_PADDING = -1.0


def check_strategy(strategy: Any, model: keras.Model, options: OptimizerOptions, loss: Any) -> None:
    """Raise an error for a strategy that Keras does not support, or under which an option would not be honored.

    Raises:
        TypeError: when `strategy` is not a tf.distribute.MirroredStrategy or None.
        ValueError: otherwise.
    """
    _check_distribution(strategy)
    if strategy is None:
        if isinstance(model.distribute_strategy, tf.distribute.MirroredStrategy):
            raise ValueError(
                "`strategy` must be the one in whose scope the model was built. Received: None, and a model built in "
                "the scope of a MirroredStrategy. Give Trainer(model, strategy=...)."
            )
        return
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError(
            "`strategy` must be a tf.distribute.MirroredStrategy: Keras 3 cannot train with several processes "
            "(https://github.com/keras-team/keras/issues/20585). Received: MultiWorkerMirroredStrategy. Train on one "
            "machine."
        )
    if not isinstance(strategy, tf.distribute.MirroredStrategy):
        raise TypeError(
            f"`strategy` must be a tf.distribute.MirroredStrategy. Received: {type(strategy).__name__}. Omit it for "
            "one device."
        )
    created = strategy.extended.variable_created_in_scope
    if model.distribute_strategy is not strategy or not all(created(variable.value) for variable in model.variables):
        raise ValueError(
            "`model` must be built inside the scope of `strategy`, backbone included. Received: a model with variables "
            "of another scope. Write `with strategy.scope():` around the backbone and build_classifier(...)."
        )
    check_reduction(loss)
    _check_options(model, options)


def _check_distribution(strategy: Any) -> None:
    distribution = keras.distribution.distribution()
    if isinstance(strategy, (keras.distribution.DataParallel, keras.distribution.ModelParallel)):
        distribution = strategy
    if distribution is not None:
        raise ValueError(
            "`strategy` must be a tf.distribute.MirroredStrategy: with a distribution of Keras, TensorFlow trains on "
            f"one device without a message. Received: {type(distribution).__name__}. Build the model inside "
            "MirroredStrategy().scope(), after keras.distribution.set_distribution(None)."
        )


def _check_options(model: keras.Model, options: OptimizerOptions) -> None:
    """Raise a ValueError for options with which Keras fails on several devices, or has other values than on one."""
    instance = None if isinstance(options.optimizer, str) else options.optimizer
    names = "clipnorm", "clipvalue", "global_clipnorm", "gradient_accumulation_steps"
    settings = {name: getattr(instance, name, None) for name in names}
    accumulate_steps = options.accumulate_steps if options.accumulate_steps > 1 else None
    given = {"clip_norm": options.clip_norm, "accumulate_steps": accumulate_steps, **settings}
    mixing = next((layer for layer in all_layers(model) if getattr(layer, "mixes", False)), None)
    for name, value in {**given, "mixup or cutmix": mixing}.items():
        if value is not None:
            raise ValueError(
                f"`{name}` is not supported with a strategy, whose devices see parts of a batch only. "
                f"Received: {value!r}. Omit it, or train on one device."
            )


def scope_of(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """Return the scope in which variables of a phase are created."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


class DistributedModel(FeatureModel):
    """The trained part of a classifier, trained by Keras' own function for several devices.

    Its batches are those of `to_replicas`. A loss is a mean over the images of the whole batch, not the mean of the
    means of unequal parts, and padding counts neither in the loss nor in metrics.
    """

    def train_step(self, data: Any) -> Any:
        """Run the training step of one replica."""
        images, labels, weights = data
        with tf.GradientTape() as tape:
            logits = self(images, training=True)
            loss = self._tracked_loss(images, labels, logits, weights, training=True)
            loss = self.optimizer.scale_loss(loss)
        variables = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return self._metrics_of(images, labels, logits, weights)

    def test_step(self, data: Any) -> Any:
        """Run the validation step of one replica."""
        images, labels, weights = data
        logits = self(images, training=False)
        self._tracked_loss(images, labels, logits, weights, training=False)
        return self._metrics_of(images, labels, logits, weights)

    def make_train_function(self, force: bool = False) -> None:
        """Create the function that `fit` calls."""
        if self.train_function is None or force:
            keras.Model.make_train_function(self, force=True)
            self.train_function = self._in_precision(self.train_function)

    def make_test_function(self, force: bool = False) -> None:
        """Create the function that validation calls."""
        if self.test_function is None or force:
            keras.Model.make_test_function(self, force=True)
            self.test_function = self._in_precision(self.test_function)

    def _tracked_loss(self, images: Any, labels: Any, logits: Any, weights: Any, *, training: bool) -> Any:
        context = tf.distribute.get_replica_context()
        replicas = float(context.num_replicas_in_sync)
        real = tf.reduce_sum(tf.cast(weights >= 0, tf.float32))
        # Keras divides the sum over a part by its rows and by the number of replicas; the mean is over real rows.
        rows = context.all_reduce(tf.distribute.ReduceOp.SUM, real) / replicas
        scaled = tf.maximum(weights, 0.0) * tf.cast(tf.shape(weights)[0], tf.float32) / rows
        loss = self.compute_loss(images, labels, logits, sample_weight=scaled, training=training)
        self._loss_tracker.update_state(loss * tf.cast(replicas, loss.dtype), sample_weight=rows)
        return loss

    def _metrics_of(self, images: Any, labels: Any, logits: Any, weights: Any) -> Any:
        is_real = weights >= 0
        return self.compute_metrics(images, tf.boolean_mask(labels, is_real), tf.boolean_mask(logits, is_real))

    def _in_precision(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        # Around all replicas: inside, the scope of one would end while another is traced.
        if self.compute_precision == "float32":
            return function

        def call(iterator: Any) -> Any:
            with precision_scope(self.compute_precision, mixed_precision_layers(self)):
                return function(iterator)

        return call


def repeat_known(batches: tf.data.Dataset) -> tuple[tf.data.Dataset, int]:
    """Return a dataset that never ends, and its number of batches.

    Where a distributed dataset ends, an update without images may run on one device and not on another.
    """
    steps = int(batches.cardinality())
    if steps < 0:
        raise ValueError(
            "A tf.data.Dataset must have a known number of batches to be trained on with a strategy. Received: "
            "one of unknown or infinite cardinality. Apply tf.data.experimental.assert_cardinality(n) to it."
        )
    return batches.repeat(), steps


def distribute(batches: tf.data.Dataset, strategy: Any, class_weight: dict[int, float] | None = None) -> Any:
    """Return batches (images, labels) or (images, labels, weights), each split over the replicas of `strategy`."""
    parts = to_replicas(batches, strategy.num_replicas_in_sync, class_weight)
    return strategy.distribute_datasets_from_function(lambda context: parts)


def to_replicas(
    batches: tf.data.Dataset, replicas: int, class_weight: dict[int, float] | None = None
) -> tf.data.Dataset:
    """Return for each batch `replicas` parts of equal size, one after another.

    A part has images, labels and weights. Where a batch has too few rows, its first ones are repeated with the weight
    -1, because Keras cannot train on an empty part.
    """
    classes = None if class_weight is None else [class_weight[index] for index in sorted(class_weight)]

    def split(images: Any, labels: tf.Tensor, *weights: tf.Tensor) -> tuple[Any, ...]:
        rows = tf.shape(labels)[0]
        share = (rows + replicas - 1) // replicas
        positions = tf.range(share * replicas)
        weight = tf.reshape(tf.cast(weights[0], tf.float32), [-1]) if weights else tf.ones([rows])
        if classes is not None:
            weight = tf.gather(tf.constant(classes, tf.float32), tf.cast(tf.reshape(labels, [-1]), tf.int32))
        weight = tf.where(positions < rows, tf.gather(weight, positions % rows), _PADDING)

        def parts(tensor: tf.Tensor) -> tf.Tensor:
            reshaped = tf.reshape(tensor, tf.concat([[replicas, share], tf.shape(tensor)[1:]], axis=0))
            return tf.ensure_shape(reshaped, [replicas, None, *tensor.shape[1:]])

        padded = tf.nest.map_structure(lambda tensor: tf.gather(tensor, positions % rows), (images, labels))
        return tf.nest.map_structure(parts, (*padded, weight))

    return batches.map(tf.autograph.experimental.do_not_convert(split)).unbatch()
