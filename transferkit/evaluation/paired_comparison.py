"""Comparison of two classifiers on the same images."""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit.evaluation.outcomes import Outcomes
from transferkit.evaluation.resampling import ConfidenceInterval, mcnemar_p_value


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """The difference of a metric of two classifiers on the same images.

    Attributes:
        metric: str, the name of the metric.
        difference: float, the metric of the first report minus that of the second.
        interval: the bounds of the bootstrap confidence interval of the difference, on the same images for both.
        p_value: float in [0, 1], McNemar's exact test of equal accuracy; for multi-label classification an image is
            correct if all of its labels are.
        only_first: int, number of images that only the first classifier predicts correctly.
        only_second: int, number of images that only the second classifier predicts correctly.
    """

    metric: str
    difference: float
    interval: ConfidenceInterval
    p_value: float
    only_first: int
    only_second: int

    def __str__(self) -> str:
        counts = f"{self.only_first:,} and {self.only_second:,} images correct in one only"
        return f"{self.metric}: difference {self.difference:+.4f} {self.interval}, p = {self.p_value:.4g} ({counts})"

    __repr__ = __str__


def compare_pair(
    first: Outcomes, second: Outcomes, metric: str, difference: float, interval: ConfidenceInterval
) -> PairedComparison:
    """Return a comparison with McNemar's test of two classifiers on the same images."""
    correct = [outcomes.correct.reshape(len(outcomes), -1).all(axis=1) for outcomes in (first, second)]
    counts = int(np.sum(correct[0] & ~correct[1])), int(np.sum(correct[1] & ~correct[0]))
    return PairedComparison(metric, difference, interval, mcnemar_p_value(*counts), *counts)
