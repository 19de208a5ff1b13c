"""Temperature scaling: values by hand, and the minimum that scikit-learn's loss confirms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from transferkit.calibration.temperature import fit_temperature, sigmoid, softmax


def test_temperature_by_hand() -> None:
    # Three of four images are right at a logit of log 9, which is a probability of 0.9: log 3 is one of 0.75.
    binary = np.full((4, 1), np.log(9.0))
    assert fit_temperature(binary, np.array([1, 1, 1, 0])) == pytest.approx(2.0, abs=1e-6)
    both = np.concatenate([np.zeros((4, 1)), binary], axis=1)
    assert fit_temperature(both, np.array([1, 1, 1, 0])) == pytest.approx(2.0, abs=1e-6)
    independent = fit_temperature(np.concatenate([binary, binary], axis=1), np.array([[1, 1], [1, 1], [1, 1], [0, 0]]))
    assert independent == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize("classes", [3, 7])
def test_temperature_minimizes_the_loss(classes: int) -> None:
    generator = np.random.default_rng(classes)
    logits = generator.normal(0, 4, (200, classes))
    labels = (logits / 3 + generator.gumbel(size=logits.shape)).argmax(axis=1)

    def loss(log_temperature: float) -> float:
        return log_loss(labels, softmax(logits / np.exp(log_temperature)), labels=range(classes))

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    assert np.log(fit_temperature(logits, labels)) == pytest.approx(best.x, abs=1e-4)
    assert fit_temperature(logits, labels) == pytest.approx(3, rel=0.25)


def test_temperature_of_separated_images_is_bounded() -> None:
    assert fit_temperature(np.array([[-1.0], [1.0]]), np.array([0, 1])) == pytest.approx(0.01)
    assert fit_temperature(np.array([[-1.0], [1.0]]), np.array([1, 0])) == pytest.approx(100)


def test_probabilities_of_large_logits_are_finite() -> None:
    assert softmax(np.array([[1e4, 0.0]])).tolist() == [[1.0, 0.0]]
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
