"""Checks of the strategy that distributes training, and of the options that it supports."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from transferkit.modeling.keras_graph import all_layers
from transferkit.training.losses import check_reduction
from transferkit.training.optimizers import OptimizerOptions

_LOWEST_KERAS = (3, 10)


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
    if tuple(int(part) for part in keras.__version__.split(".")[:2]) < _LOWEST_KERAS:
        raise ValueError(
            "`strategy` requires Keras 3.10 or later: earlier versions count the metrics of the devices several times. "
            f"Received: Keras {keras.__version__}. Install a later version, or train on one device."
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
