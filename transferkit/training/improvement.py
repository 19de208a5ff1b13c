"""Whether fine-tuning improved a classifier: a paired comparison of losses on the validation images."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from transferkit.data.dataset import Data
from transferkit.modeling.state import Snapshot, changing_variables
from transferkit.training.objective import Objective
from transferkit.training.runner import Runner

_LOG = logging.getLogger("transferkit")
# Factors of the logits, from which the best is taken.
_SCALES = np.geomspace(0.1, 10.0, 41)
# The smallest difference of mean losses that counts: in standard errors, about 95 % confidence, and absolute.
_MIN_STANDARD_ERRORS = 2.0
_MIN_DIFFERENCE = 0.01


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """Weights and losses of the validation images before a phase."""

    weights: Snapshot
    losses: np.ndarray


def starting_point(runner: Runner, data: Data) -> StartingPoint:
    """Return the present weights of the layers that are trainable now, and the losses of the validation images."""
    return StartingPoint(Snapshot(changing_variables(runner.model)), validation_losses(runner, data))


def keep_improvement(runner: Runner, data: Data, start: StartingPoint) -> None:
    """Restore the weights of `start` unless the present ones have a smaller validation loss, by two standard errors.

    Few validation images rank weights by chance: the mean difference of the losses must exceed twice its standard
    error. And training further makes a model more confident: losses are compared at the scale of the logits that is
    best for each.
    """
    losses = validation_losses(runner, data)
    if is_improvement(start.losses, losses):
        return
    start.weights.restore()
    _LOG.warning(
        "Fine-tuning was of no use: the calibrated validation loss was %.4f before and %.4f in the best epoch, not "
        "lower by two standard errors. The weights from before were restored; keep_best=False keeps the fine-tuned "
        "ones.",
        start.losses.mean(),
        losses.mean(),
    )


def is_improvement(before: np.ndarray, after: np.ndarray) -> bool:
    """Return whether the mean loss of the same images fell by more than two standard errors, and more than 0.01.

    >>> is_improvement(np.array([1.0, 1.0, 1.0]), np.array([0.8, 0.7, 0.9]))
    True
    >>> is_improvement(np.array([1.0, 1.0, 1.0]), np.array([1.3, 1.0, 0.6]))
    False
    """
    difference = before - after
    if not np.isfinite(difference).all():
        return False
    error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return bool(difference.mean() > max(_MIN_STANDARD_ERRORS * error, _MIN_DIFFERENCE))


def calibrated_losses(objective: Objective, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the loss of each image at the scale of the logits with the smallest mean loss.

    Reference: Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599.
    """
    if objective.kind == "number":
        return objective.losses_of(labels, logits)
    candidates = [objective.losses_of(labels, logits * np.float32(scale)) for scale in _SCALES]
    return min(candidates, key=lambda losses: float(losses.mean()))


def validation_losses(runner: Runner, data: Data) -> np.ndarray:
    """Return the loss of each validation image, at the scale of the logits that is best for all of them."""
    split = data.splits["validation"]
    evaluated = runner.evaluate(data.validation, None if split.dataset is not None else split)
    losses = calibrated_losses(runner.objective(data), evaluated.labels, evaluated.logits)
    # A dataset of the user may shuffle, so that its images have no order.
    return np.sort(losses) if split.dataset is not None else losses
