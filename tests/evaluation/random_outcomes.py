"""Random results of a classifier with ties and absent classes, for comparisons with scikit-learn."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from transferkit.evaluation.outcomes import Outcomes, predict_labels

SEEDS = st.integers(0, 100_000)


def random_outcomes(
    seed: int, *, classes: int = 4, images: int = 40, multi_label: bool = False, absent: int = 0
) -> Outcomes:
    """Return results in which many probabilities are equal; the last `absent` classes have no images."""
    generator = np.random.default_rng(seed)
    if multi_label:
        labels = (generator.random((images, classes)) < 0.4).astype(int)
        labels[:, classes - absent :] = 0
        probabilities = generator.integers(0, 11, (images, classes)) / 10
    else:
        labels = generator.integers(0, classes - absent, images)
        counts = generator.integers(0, 4, (images, classes)) + 2 * np.eye(classes)[labels] + 0.5
        probabilities = counts / counts.sum(axis=1, keepdims=True)
    return Outcomes(labels, probabilities, predict_labels(probabilities, multi_label))


def random_scores(seed: int, images: int, prevalence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores of one class, with ties for odd seeds."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 8, images) / 8 if seed % 2 else generator.random(images)
    return generator.random(images) < prevalence, scores
