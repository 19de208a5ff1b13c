"""Calibration: reliability bins, expected calibration error, Brier score."""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit.evaluation.classification import ratio
from transferkit.evaluation.outcomes import Outcomes

NUM_BINS = 10


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Reliability:
    """Predictions in bins of equal width, each without its lower edge: (0, 0.1], (0.1, 0.2] and so on; the first has 0.

    Attributes:
        confidence: float (bins,), mean probability of each bin; NaN for an empty bin.
        accuracy: float (bins,), fraction that is correct of each bin; NaN for an empty bin.
        counts: int (bins,), number of predictions of each bin.

    Reference: DeGroot and Fienberg, "The Comparison and Evaluation of Forecasters", 1983.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray

    @property
    def edges(self) -> np.ndarray:
        """float (bins + 1,), the edges of the bins, from 0 to 1."""
        return np.linspace(0, 1, len(self.counts) + 1)

    @property
    def expected_error(self) -> float:
        """Expected calibration error in [0, 1]: mean difference of confidence and accuracy, weighted by the counts."""
        used = self.counts > 0
        return float(np.sum(self.counts[used] * self._gaps()) / np.sum(self.counts))

    @property
    def maximum_error(self) -> float:
        """Largest difference of confidence and accuracy of the bins, in [0, 1]."""
        return float(self._gaps().max())

    def _gaps(self) -> np.ndarray:
        used = self.counts > 0
        return np.abs(self.accuracy[used] - self.confidence[used])

    def __repr__(self) -> str:
        return f"Reliability({len(self.counts)} bins, expected_error={self.expected_error:.4f})"


def reliability(confidence: np.ndarray, correct: np.ndarray, num_bins: int = NUM_BINS) -> Reliability:
    """Return the bins of probabilities (n,) and whether each prediction is correct (n,)."""
    bins = bin_indices(confidence, num_bins)
    counts = np.bincount(bins, minlength=num_bins)
    sums = (np.bincount(bins, weights=values, minlength=num_bins) for values in (confidence, correct))
    means = [np.where(counts > 0, ratio(total, counts), np.nan) for total in sums]
    return Reliability(means[0], means[1], counts)


def bin_indices(confidence: np.ndarray, num_bins: int = NUM_BINS) -> np.ndarray:
    """Return the bin of each probability; a bin contains its upper edge."""
    return np.searchsorted(np.linspace(0, 1, num_bins + 1)[1:-1], confidence)


def calibration_gaps(outcomes: Outcomes) -> np.ndarray:
    """Return (n, bins): the sums of correctness minus confidence of each image in each bin.

    The expected calibration error is the mean over the predictions of the absolute values of the sums over the images.
    """
    gaps = np.zeros((len(outcomes), NUM_BINS))
    images = np.repeat(np.arange(len(outcomes)), outcomes.confidence.size // len(outcomes))
    differences = (outcomes.correct - outcomes.confidence).ravel()
    np.add.at(gaps, (images, bin_indices(outcomes.confidence.ravel())), differences)
    return gaps


def brier_scores(outcomes: Outcomes) -> np.ndarray:
    """Return the Brier score of each image (n,).

    That is the squared difference of probability and label: of the second of two classes; the sum over more classes;
    for multi-label classification the mean over the classes.
    """
    probabilities = outcomes.probabilities
    if outcomes.multi_label:
        return ((probabilities - outcomes.labels) ** 2).mean(axis=1)
    if outcomes.num_classes == 2:
        return (probabilities[:, 1] - outcomes.labels) ** 2
    # Without a one-hot array: (1 - p)^2 - p^2 = 1 - 2 p for the true class.
    true = probabilities[np.arange(len(outcomes)), outcomes.labels]
    return (probabilities**2).sum(axis=1) + 1 - 2 * true
