"""Runs one phase of training by Keras' own `fit`: on images, or on cached features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit.data.dataset import Data
from transferkit.data.element_errors import element_errors
from transferkit.data.pipeline import epochs_dataset
from transferkit.modeling.precision import has_gpu
from transferkit.training.compilation import jit_compile_mode
from transferkit.training.feature_data import CachedFeatures, evaluation_batches, training_batches
from transferkit.training.feature_model import FeatureModel, steps_per_call
from transferkit.training.objective import Objective

# Training steps on images per call on a GPU: enough to hide Python, few enough to show progress.
_MAX_GPU_STEPS = 16


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Arguments of Keras' `fit` that are passed on."""

    callbacks: Sequence[keras.callbacks.Callback]
    class_weight: dict[int, float] | None
    verbose: int | str


@dataclasses.dataclass(frozen=True)
class PhaseRun:
    """What both ways of training need.

    Attributes:
        model: the compiled classifier, which the callbacks see.
        objective: its loss and metrics.
        seed: of the order of the images.
        epochs: numbers of the epochs, from 0 over all phases.
        options: callbacks, class weights and verbosity.
    """

    model: keras.Model
    objective: Objective
    seed: int
    epochs: range
    options: FitOptions


def train_on_images(run: PhaseRun, trained: keras.Model, data: Data) -> dict[str, list[float]]:
    """Fit `trained`, the classifier or a `FeatureModel` of it, batch by batch; return the metrics of each epoch."""
    split = data.splits.get("train")
    if split is None or split.dataset is not None:
        if isinstance(trained, FeatureModel):
            # The number of batches of a user's dataset is unknown, so each call takes one.
            _compile(run, trained, (1, 1, 1))
        with element_errors():
            return _fit(run, trained, data.train, None, data.validation)
    steps = -(-len(split) // data.batch_size)
    # On a CPU several steps per call save no time, and progress would be shown less often.
    several = max(n for n in range(1, _MAX_GPU_STEPS + 1) if steps % n == 0) if has_gpu() else 1
    validation, validation_steps = data.validation, None
    if isinstance(trained, FeatureModel):
        validation, validation_steps = _repeated(validation)
        _compile(run, trained, (several, steps, validation_steps or 1))
    elif several != trained.steps_per_execution:
        # Their number divides the steps of an epoch, because Keras would continue with batches of the next epoch.
        trained.steps_per_execution = several
        trained.train_function = trained.test_function = None
    batches = epochs_dataset(
        split, batch_size=data.batch_size, seed=run.seed, first_epoch=run.epochs.start, epochs=len(run.epochs)
    )
    return _fit(run, trained, batches, steps, validation, validation_steps)


def train_on_features(
    run: PhaseRun, trained: FeatureModel, features: CachedFeatures, batch_size: int
) -> dict[str, list[float]]:
    """Train the part above the freeze boundary; return the metrics of each epoch."""
    batches = training_batches(
        features.views,
        features.labels,
        batch_size=batch_size,
        seed=run.seed,
        epochs=run.epochs,
    )
    validation = None if features.validation is None else evaluation_batches(*features.validation)
    validation, validation_steps = _repeated(validation)
    steps = -(-len(features.labels) // batch_size)
    _compile(run, trained, (steps_per_call(steps), steps, validation_steps or 1))
    return _fit(run, trained, batches, steps, validation, validation_steps)


def _repeated(validation: tf.data.Dataset | None) -> tuple[tf.data.Dataset | None, int | None]:
    # With a number of steps, Keras creates one iterator for all validations instead of one for each.
    return (None, None) if validation is None else (validation.repeat(), int(validation.cardinality()))


def _compile(run: PhaseRun, trained: FeatureModel, steps: tuple[int, int, int]) -> None:
    """Compile `trained` with the optimizer of the classifier, unless it was compiled with it before."""
    if not trained.compiled or trained.optimizer is not run.model.optimizer:
        trained.compile(
            optimizer=run.model.optimizer,
            loss=run.objective.loss(),
            metrics=run.objective.metrics(),
            jit_compile=jit_compile_mode(),
        )
    trained.steps_per_execution, trained.num_steps, trained.num_validation_steps = steps


def _fit(
    run: PhaseRun,
    trained: keras.Model,
    batches: tf.data.Dataset,
    steps: int | None,
    validation: tf.data.Dataset | None,
    validation_steps: int | None = None,
) -> dict[str, list[float]]:
    model = run.model
    verbose = run.options.verbose
    callbacks = keras.callbacks.CallbackList(
        [*run.options.callbacks, _StopTrainingBridge(trained, model)],
        add_history=True,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=run.epochs.stop,
        steps=steps,
        model=model,
    )
    model.stop_training = False
    trained.fit(
        batches,
        epochs=run.epochs.stop,
        initial_epoch=run.epochs.start,
        steps_per_epoch=steps,
        validation_data=validation,
        validation_steps=validation_steps,
        callbacks=callbacks,
        # The batches are shuffled already, and Keras warns when it is to shuffle a dataset.
        shuffle=False,
        class_weight=run.options.class_weight,
        verbose=verbose,
    )
    return model.history.history


class _StopTrainingBridge(keras.callbacks.Callback):
    """Passes `stop_training` from the classifier, which the callbacks see, to the model that is fitted."""

    def __init__(self, trained: Any, model: Any) -> None:
        super().__init__()
        self._trained, self._classifier = trained, model

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._trained.stop_training = self._classifier.stop_training

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._trained.stop_training = self._classifier.stop_training
        # Keras' fit returns the attribute that its History callback sets on the callbacks' model.
        self._trained.history = self._classifier.history


class ReseedCallback(keras.callbacks.Callback):
    """Sets the state of every seed generator of a model (dropout, augmentation) at the start of each epoch.

    Keras does not save the states of seed generators, so a resumed run would generate other numbers than the unbroken
    one. As functions of seed, epoch and position in the classifier, the states are the same.
    """

    def __init__(self, model: keras.Model, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._states = [variable for variable in model.variables if variable.name == "seed_generator_state"]

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        for position, state in enumerate(self._states):
            value = np.random.SeedSequence([self._seed, epoch, position]).generate_state(1)[0]
            state.assign(np.array([value & 0x7FFFFFFF, 0]).astype(keras.backend.standardize_dtype(state.dtype)))
