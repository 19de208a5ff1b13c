"""Fine-tuning of the best backbone, as far as the time allows; it counts only if it clearly lowers the loss."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator

import keras
import numpy as np

from transferkit.autofitting.budget import Budget
from transferkit.autofitting.development import Development, Sample
from transferkit.autofitting.heads import HeadChoice, train_head
from transferkit.backbones import Backbone
from transferkit.backbones.hub_model import HubModel
from transferkit.calibration.temperature import cross_entropy
from transferkit.engines.timings import estimate_seconds_per_image
from transferkit.training import Trainer
from transferkit.training.improvement import is_improvement
from transferkit.training.steps import MAX_FINE_TUNING_EPOCHS, auto_epochs

_LOG = logging.getLogger("transferkit")
# A step takes about three times as long as a prediction, and the first one has to be traced.
_STEP_FACTOR, _TRACING_SECONDS = 3.0, 25.0
_FEWEST_EPOCHS = 3
# With fewer wrong predictions of the head, no fine-tuning can lower the loss by two standard errors.
_FEWEST_MISTAKES = 3


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """A fine-tuned classifier with its predictions of images on which it was not trained.

    Attributes:
        trainer: the trainer.
        images: indices of the images in the sample.
        logits: (n, units), divided by their temperature.
        temperature: the divisor.
        seconds: that it took.
    """

    trainer: Trainer
    images: np.ndarray
    logits: np.ndarray
    temperature: float
    seconds: float


class StopAtDeadline(keras.callbacks.Callback):
    """Stops training at the first batch after which too little time is left.

    Args:
        budget: the time.
        reserve: seconds that must be left after fine-tuning.
        batch_size: images per step.
        num_validation: number of validation images, which are predicted at the end of the epoch and for the decision.
    """

    def __init__(self, budget: Budget, reserve: float, batch_size: int, num_validation: int) -> None:
        super().__init__()
        self._budget, self._reserve = budget, reserve
        self._batches = num_validation / batch_size
        self._started = 0.0

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        """Start to measure a step."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Check the time."""
        # Three predictions of the validation images take as long as one pass of training.
        predictions = self._batches * (time.perf_counter() - self._started)
        if not self._budget.allows(self._reserve + predictions):
            self.model.stop_training = True


def possible_epochs(backbone: Backbone, num_images: int, batch_size: int, budget: Budget, reserve: float) -> int:
    """Return the number of epochs for which there is time, 0 for too few."""
    most = auto_epochs(-(-num_images // batch_size), MAX_FINE_TUNING_EPOCHS)
    seconds = _STEP_FACTOR * num_images * estimate_seconds_per_image(backbone.model)
    available = budget.remaining - reserve - _TRACING_SECONDS
    epochs = most if budget.remaining == float("inf") else min(most, int(available / max(seconds, 1e-9)))
    return epochs if epochs >= _FEWEST_EPOCHS else 0


def has_enough_mistakes(logits: np.ndarray, labels: np.ndarray, images: np.ndarray) -> bool:
    """Return whether the head is wrong on enough of the images that would decide on fine-tuning."""
    logits, labels = logits[images], labels[images]
    if labels.ndim == 2:
        wrong = np.any((logits > 0) != (labels == 1), axis=1)
    elif logits.shape[1] == 1:
        wrong = (logits[:, 0] > 0) != (labels == 1)
    else:
        wrong = logits.argmax(axis=1) != labels
    return int(wrong.sum()) >= _FEWEST_MISTAKES


def train_fine_tuned(
    choice: HeadChoice, backbone: Backbone, development: Development, sample: Sample, epochs: int, stop: StopAtDeadline
) -> Trainer:
    """Return a trainer after fine-tuning a copy of a backbone on all but the first fold, which validates it."""
    fold = sample.folds[0]
    data = development.data_of(sample.split.take(sample.outside(fold)), sample.split.take(fold))
    trainer = train_head(choice, copy_backbone(backbone), data, development.seed)
    with _quiet():
        trainer.fine_tune(data, epochs, callbacks=[stop], verbose=0)
    return trainer


def improves(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether the loss of calibrated logits of the same images fell by more than two standard errors."""
    return is_improvement(cross_entropy(before, labels), cross_entropy(after, labels))


def copy_backbone(backbone: Backbone) -> Backbone:
    """Return a backbone with the same weights in layers of another model."""
    # Layers of KerasHub cannot be cloned from their own configurations.
    model = backbone.model
    model = HubModel.from_config(model.get_config()) if isinstance(model, HubModel) else keras.models.clone_model(model)
    model.set_weights(backbone.model.get_weights())
    return Backbone(backbone.name, model, backbone.preprocessing, spec=backbone.spec, image_spec=backbone.image_spec)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the warning that fine-tuning was of no use: it is a row of the leaderboard."""
    level = _LOG.level
    _LOG.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _LOG.setLevel(level)
