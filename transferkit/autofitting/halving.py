"""Successive halving: backbones are compared on few images, and the better half on twice as many."""

from __future__ import annotations

import math

import numpy as np

from transferkit.autofitting.budget import Budget
from transferkit.autofitting.development import Development, Sample
from transferkit.autofitting.scoring import report_of, score
from transferkit.autofitting.sources import Source
from transferkit.features.linear_probe import fit_linear_probe, probe_logits

# Backbones that are compared on all images.
_FINALISTS = 3
# Images per class in the first comparison, at least.
_MIN_PER_CLASS = 20
_L2 = 1e-2


def select_finalists(
    sources: list[Source], development: Development, budget: Budget, metric: str, reserve: float
) -> list[Source]:
    """Return at most three sources, the best first; those that fail have their error.

    Without time for a further round, the order of the last one counts.

    Reference: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016,
    arXiv:1502.07943.
    """
    left = [source for source in sources if _can_be_created(source)]
    rounds = max(0, math.ceil(math.log2(len(left) / _FINALISTS))) if left else 0
    for number in range(rounds):
        fewest = _MIN_PER_CLASS * development.data.num_classes
        count = min(len(development), max(fewest, len(development) >> (rounds - number)))
        sample = development.sample(count)
        scores = {source: _score(source, sample, development, (budget, metric, reserve)) for source in left}
        known = [source for source in left if scores[source] is not None]
        if not known:
            break
        # Sorting is stable: of equal backbones, the one that was given first is kept.
        known.sort(key=lambda source: -(scores[source] or 0.0))
        left = known[: max(_FINALISTS, math.ceil(len(left) / 2))]
    return left[:_FINALISTS]


def _can_be_created(source: Source) -> bool:
    try:
        source.backbone  # noqa: B018 - created here, so that its error is that of the row
    except Exception as error:
        # Missing weights, an unsupported image size or a mistyped name must not stop the other backbones.
        source.error = (str(error) or type(error).__name__).splitlines()[0]
        return False
    return True


def _score(source: Source, sample: Sample, development: Development, limits: tuple[Budget, str, float]) -> float | None:
    budget, metric, reserve = limits
    features = source.features(sample.split, budget, reserve)
    if features is None:
        source.error = "there was no time for its features"
        return None
    labels, num_classes = sample.split.labels, development.data.num_classes
    logits = np.zeros((len(sample), 1 if labels.ndim == 1 and num_classes == 2 else num_classes))
    for fold in sample.folds:
        rows = sample.outside(fold)
        probe = fit_linear_probe(features[rows], labels[rows], num_classes, l2=_L2)
        logits[fold] = probe_logits(probe, features[fold])
    return score(report_of(logits, labels, development.data.class_names), metric)
