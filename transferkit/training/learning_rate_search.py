"""The learning-rate range test: the loss while the learning rate rises, on a model that stays unchanged."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit import plots
from transferkit.data.dataset import Data
from transferkit.data.pipeline import epochs_dataset
from transferkit.head import set_unit
from transferkit.modeling.state import Snapshot
from transferkit.training.compilation import jit_compile_mode
from transferkit.training.feature_data import load_features, training_batches
from transferkit.training.feature_model import FeatureModel
from transferkit.training.plan import Plan
from transferkit.training.runner import Runner
from transferkit.training.steps import steps_per_epoch

# A loss this many times the smallest one ends the test.
_DIVERGED = 4.0
_SMOOTHING = 0.9


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LearningRateSearch:
    """The result of `Trainer.find_learning_rate`.

    Attributes:
        learning_rates: float (n,), rising.
        losses: float (n,), the loss of the batch at each of them, before the update.
        suggestion: float. The learning rate at which the smoothed loss falls fastest.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    suggestion: float

    def plot(self, path: str | os.PathLike[str] | None = None) -> plots.Figure:
        """Plot the smoothed loss over the learning rate.

        Args:
            path: str or path. Where to save the figure. Defaults to None (not saved).

        Returns:
            The matplotlib figure, which a notebook shows.
        """
        return plots.learning_rate_curve(self.learning_rates, smooth(self.losses), self.suggestion, path=path)

    def __repr__(self) -> str:
        low, high = self.learning_rates[0], self.learning_rates[-1]
        steps = f"{len(self.losses)} steps from {low:.1g} to {high:.1g}"
        return f"LearningRateSearch: suggestion {self.suggestion:.2g}, {steps}"


def search_learning_rate(runner: Runner, data: Data, *, start: float, end: float, steps: int) -> LearningRateSearch:
    """Train with a learning rate that rises from `start` to `end`, and restore the model."""
    if runner.settings.strategy is not None:
        raise ValueError(
            "find_learning_rate requires one device. Received: a trainer with a strategy. Use a trainer without it."
        )
    # All variables: weights, statistics of batches, and states of random numbers.
    before = Snapshot(runner.model.variables)
    try:
        schedule = keras.optimizers.schedules.ExponentialDecay(start, max(1, steps - 1), end / start)
        losses = _train(runner, data, schedule, steps)
    finally:
        before.restore()
    rates = start * (end / start) ** (np.arange(len(losses)) / max(1, steps - 1))
    return LearningRateSearch(rates, losses, suggest(rates, losses))


def _train(runner: Runner, data: Data, schedule: Any, steps: int) -> np.ndarray:
    """Return the loss of each step; the model is trained."""
    objective = runner.objective(data)
    set_unit(runner.model, data.splits["train"].labels, data.splits["train"].weights)
    plan = runner.plan(data, "auto", measure=False)
    optimizer = runner.settings.optimizer.make(schedule)
    optimizer.build(runner.model.trainable_variables)
    part = plan.partition.trainable if plan.trained_on == "features" else runner.model
    trained = FeatureModel(part.inputs[0] if len(part.inputs) == 1 else part.inputs, part.outputs[0])
    if objective.soft_labels:
        trained.mix_batches(plan.partition.augmentation)
    trained.compile(optimizer=optimizer, loss=objective.loss(), jit_compile=jit_compile_mode())
    return _losses(trained, _batches(runner, plan, data, steps), steps)


def _batches(runner: Runner, plan: Plan, data: Data, steps: int) -> tf.data.Dataset:
    per_epoch, seed = steps_per_epoch(data), runner.settings.extraction.seed
    if per_epoch is None or data.splits["train"].dataset is not None:
        return data.train.repeat()
    epochs = -(-steps // per_epoch)
    if plan.trained_on == "images":
        split = data.splits["train"]
        return epochs_dataset(split, batch_size=data.batch_size, seed=seed, first_epoch=0, epochs=epochs)
    features = load_features(plan, data, runner.settings.extraction)
    return training_batches(
        features.views, features.targets, batch_size=data.batch_size, seed=seed, epochs=range(epochs)
    )


def _losses(trained: FeatureModel, batches: tf.data.Dataset, steps: int) -> np.ndarray:
    step = tf.function(trained.train_step, autograph=False, reduce_retracing=True)
    losses: list[float] = []
    for batch in batches.take(steps):
        trained.reset_metrics()
        loss = float(step(batch)["loss"])
        if not np.isfinite(loss) or (losses and loss > _DIVERGED * max(min(losses), 1e-3) and len(losses) > steps // 4):
            break
        losses.append(loss)
    return np.array(losses)


def smooth(losses: Any) -> np.ndarray:
    """Return the exponential moving average of losses, corrected for its start.

    >>> smooth([1.0, 1.0]).tolist()
    [1.0, 1.0]
    """
    total, smoothed = 0.0, []
    for count, loss in enumerate(losses, 1):
        total = _SMOOTHING * total + (1 - _SMOOTHING) * float(loss)
        smoothed.append(total / (1 - _SMOOTHING**count))
    return np.array(smoothed).round(12)


def suggest(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the learning rate of the steepest descent of the smoothed loss, before its minimum.

    Reference: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
    """
    smoothed = smooth(losses)
    lowest = int(np.argmin(smoothed))
    if lowest < 2:
        return float(rates[0])
    slopes = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))
    return float(rates[int(np.argmin(slopes))])
