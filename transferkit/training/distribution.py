"""Training on several devices by tf.distribute.MirroredStrategy, with the losses of one device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from transferkit.modeling.precision import mixed_precision_layers, precision_scope
from transferkit.training.feature_model import FeatureModel

# Weight of rows that fill up a part; weights of images are never negative.
_PADDING = -1.0


def scope_of(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """Return the scope in which variables of a phase are created."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


class DistributedModel(FeatureModel):
    """The trained part of a classifier, trained by Keras' own function for several devices.

    Its batches are those of `pad_batches`. A loss is a mean over the images of the whole batch, not the mean of the
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


def pad_batches(
    batches: tf.data.Dataset, replicas: int, class_weight: dict[int, float] | None = None
) -> tf.data.Dataset:
    """Return batches (images, labels, weights) whose number of rows is a multiple of `replicas`.

    Keras splits them into equal parts. Where a batch has too few rows, its first ones are repeated with the weight -1,
    because Keras cannot train on an empty part.
    """
    classes = None if class_weight is None else [class_weight[index] for index in sorted(class_weight)]

    def pad(images: Any, labels: tf.Tensor, *weights: tf.Tensor) -> tuple[Any, ...]:
        rows = tf.shape(labels)[0]
        positions = tf.range((rows + replicas - 1) // replicas * replicas)
        weight = tf.reshape(tf.cast(weights[0], tf.float32), [-1]) if weights else tf.ones([rows])
        if classes is not None:
            weight = tf.gather(tf.constant(classes, tf.float32), tf.cast(tf.reshape(labels, [-1]), tf.int32))
        weight = tf.where(positions < rows, tf.gather(weight, positions % rows), _PADDING)
        images, labels = tf.nest.map_structure(lambda tensor: tf.gather(tensor, positions % rows), (images, labels))
        return images, labels, weight

    options = tf.data.Options()
    # All devices are in one process, and no file is to be divided among them.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.map(tf.autograph.experimental.do_not_convert(pad)).with_options(options)
