"""Runs one phase of training by Keras' own `fit`: on images, or on cached features."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.checks import check_int
from transferkit.data.dataset import Data
from transferkit.data.element_errors import element_errors
from transferkit.data.pipeline import epochs_dataset
from transferkit.modeling.precision import has_gpu
from transferkit.training.arguments import Callbacks, check_monitors, choose_verbosity
from transferkit.training.best_weights import BestWeights, monitor_mode
from transferkit.training.checkpoint import Checkpoint, CheckpointCallback
from transferkit.training.class_weight import resolve_class_weight
from transferkit.training.compilation import jit_compile_mode
from transferkit.training.distribution import DistributedModel, pad_batches, repeat_known
from transferkit.training.feature_data import CachedFeatures, evaluation_batches, training_batches
from transferkit.training.feature_model import FeatureModel, steps_per_call
from transferkit.training.guards import Interruption, LossGuard
from transferkit.training.objective import Objective
from transferkit.training.schedules import plateau_callback

# Training steps on images per call on a GPU: enough to hide Python, few enough to show progress.
_MAX_GPU_STEPS = 16


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """How a phase is run, without the data and the updates of the weights.

    Attributes:
        callbacks, class_weight, verbose: arguments of Keras' `fit`.
        monitor: name of the metric for `early_stopping` and `keep_best`.
        early_stopping: epochs without improvement after which training stops, or None.
        keep_best: whether the weights of the best epoch are restored.
        counts_start: whether the weights before the phase count as an epoch for `keep_best`.
    """

    callbacks: Callbacks
    class_weight: dict[int, float] | None
    verbose: int | str
    monitor: str = "val_loss"
    early_stopping: int | None = None
    keep_best: bool = False
    counts_start: bool = False

    @classmethod
    def of(cls, data: Data, callbacks: Callbacks, class_weight: Any, verbose: int | str) -> FitOptions:
        """Return checked options."""
        used = check_monitors(callbacks, data)
        return cls(used, resolve_class_weight(class_weight, data), choose_verbosity(verbose))

    def stopping(
        self, data: Data, early_stopping: int | None, keep_best: bool, monitor: str | None, schedule: Any
    ) -> FitOptions:
        """Return these options with those that depend on a monitored metric."""
        has_validation = "validation" in data.splits
        if early_stopping is not None:
            check_int("early_stopping", early_stopping)
        if monitor is None:
            monitor = "val_loss" if has_validation else "loss"
        elif monitor.startswith("val_") and not has_validation:
            raise ValueError(
                f"`monitor` must be a metric of the training images when there are no validation images. Received: "
                f"{monitor!r}. Build the data with validation=0.2, or use {monitor.removeprefix('val_')!r}."
            )
        callbacks = self.callbacks
        if schedule == "plateau":
            callbacks = (*callbacks, plateau_callback(monitor, monitor_mode(monitor)))
        return dataclasses.replace(
            self, callbacks=callbacks, monitor=monitor, early_stopping=early_stopping, keep_best=bool(keep_best)
        )


@dataclasses.dataclass(frozen=True)
class PhaseRun:
    """What both ways of training need.

    Attributes:
        model: the compiled classifier, which the callbacks see.
        objective: its loss and metrics.
        seed: of the order of the images.
        epochs: numbers of the epochs, from 0 over all phases.
        options: callbacks, class weights and verbosity.
        guard: the guard of the loss.
        interruption: what stops the phase after an epoch.
        checkpoint: where the state is written after each epoch, or None.
        metrics: those of the epochs before an interruption.
    """

    model: keras.Model
    objective: Objective
    seed: int
    epochs: range
    options: FitOptions
    guard: LossGuard
    interruption: Interruption
    checkpoint: Checkpoint | None = None
    metrics: dict[str, list[float]] = dataclasses.field(default_factory=dict)


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
    several = _steps_per_call(steps)
    validation, validation_steps = data.validation, None
    if isinstance(trained, FeatureModel):
        validation, validation_steps = _repeated(validation)
        _compile(run, trained, (several, steps, validation_steps or 1))
    elif several != trained.steps_per_execution:
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
        features.targets,
        batch_size=batch_size,
        seed=run.seed,
        epochs=run.epochs,
    )
    validation = None if features.validation is None else evaluation_batches(*features.validation)
    validation, validation_steps = _repeated(validation)
    steps = -(-len(features.labels) // batch_size)
    several = _steps_per_call(steps) if isinstance(trained, DistributedModel) else steps_per_call(steps)
    _compile(run, trained, (several, steps, validation_steps or 1))
    return _fit(run, trained, batches, steps, validation, validation_steps)


def _steps_per_call(steps: int) -> int:
    """Return how many steps Keras' own function takes per call.

    Their number divides the steps of an epoch, because Keras would continue with batches of the next epoch. On a CPU
    several steps per call save no time, and progress would be shown less often.
    """
    return max(n for n in range(1, _MAX_GPU_STEPS + 1) if steps % n == 0) if has_gpu() else 1


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
            # XLA needs shapes that are known, and the number of real rows of a part is not.
            jit_compile=False if isinstance(trained, DistributedModel) else jit_compile_mode(),
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
    model, class_weight = run.model, run.options.class_weight
    verbose = run.options.verbose
    if isinstance(trained, DistributedModel):
        strategy = trained.distribute_strategy
        if steps is None:
            batches, steps = repeat_known(batches)
        if validation is not None and validation_steps is None:
            validation, validation_steps = repeat_known(validation)
        batches, class_weight = pad_batches(batches, strategy.num_replicas_in_sync, class_weight), None
        validation = None if validation is None else pad_batches(validation, strategy.num_replicas_in_sync)
    start = _monitored_at_start(run, trained, validation, validation_steps)
    callbacks = keras.callbacks.CallbackList(
        [*_phase_callbacks(run, start), _StopTrainingBridge(trained, model)],
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
        class_weight=class_weight,
        verbose=verbose,
    )
    return model.history.history


def _monitored_at_start(
    run: PhaseRun, trained: keras.Model, validation: tf.data.Dataset | None, steps: int | None
) -> float | None:
    """Return the monitored metric before the phase, where it counts as an epoch and the phase is not resumed."""
    options = run.options
    if not (options.keep_best and options.counts_start) or run.metrics or validation is None:
        return None
    values = trained.evaluate(validation, steps=steps, verbose=0, return_dict=True)
    return values.get(options.monitor.removeprefix("val_"))


def _phase_callbacks(run: PhaseRun, start: float | None) -> list[keras.callbacks.Callback]:
    """Return the callbacks in the order in which they must see an epoch end."""
    options, model = run.options, run.model
    callbacks: list[keras.callbacks.Callback] = [ReseedCallback(model, run.seed)]
    if getattr(getattr(model.optimizer, "inner_optimizer", model.optimizer), "use_ema", False):
        # Before the others, which see the averages of the weights as those of the model.
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    callbacks += [*options.callbacks, run.guard]
    if options.keep_best or options.early_stopping is not None:
        keep, patience = options.keep_best, options.early_stopping
        callbacks.append(BestWeights(model, options.monitor, keep=keep, patience=patience, start=start))
    if run.checkpoint is not None:
        interruption = run.interruption
        writer = CheckpointCallback(
            run.checkpoint, model, run.metrics, tuple(callbacks), lambda: interruption.requested
        )
        callbacks.append(writer)
    # After the checkpoint, in which the phase is not finished.
    return [*callbacks, run.interruption]


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
