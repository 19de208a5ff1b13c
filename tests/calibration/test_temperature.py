"""Temperature scaling: values by hand, and the minimum that scikit-learn's loss confirms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from transferkit.calibration.temperature import cross_entropy, fit_temperature, shrunk_temperature, sigmoid, softmax


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


def test_temperature_is_shrunk_by_hand() -> None:
    logits, labels = np.full((400, 1), np.log(9.0)), np.array([1, 1, 1, 0] * 100)
    # The mean loss falls from that of 0.9 to that of 0.75, the fraction of right predictions.
    before, after = (-0.75 * np.log(p) - 0.25 * np.log(1 - p) for p in (0.9, 0.75))
    expected = np.log(2) * (1 - 1 / (2 * 400 * (before - after)))
    assert np.log(shrunk_temperature(logits, labels)) == pytest.approx(expected, abs=1e-6)
    both = np.concatenate([np.zeros((400, 1)), logits], axis=1)
    assert np.log(shrunk_temperature(both, labels)) == pytest.approx(expected, abs=1e-6)


def test_temperature_of_few_images_is_one() -> None:
    assert shrunk_temperature(np.full((4, 1), np.log(9.0)), np.array([1, 1, 1, 0])) == 1
    assert shrunk_temperature(np.array([[-9.0], [9.0]]), np.array([0, 1])) == 1


def test_temperature_of_random_labels_is_large() -> None:
    logits = np.random.default_rng(0).normal(0, 20, (50, 1))
    assert shrunk_temperature(logits, np.arange(50) % 2) > 10


@pytest.mark.parametrize("columns", [1, 3])
def test_cross_entropy_equals_scikit_learn(columns: int) -> None:
    generator = np.random.default_rng(columns)
    logits, labels = generator.normal(0, 3, (30, columns)), generator.integers(0, max(2, columns), 30)
    probabilities = sigmoid(logits)[:, 0] if columns == 1 else softmax(logits)
    assert cross_entropy(logits, labels).mean() == pytest.approx(log_loss(labels, probabilities))


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_shrunk_temperature_is_better_for_new_images(scale: float) -> None:
    generator, before, after, pure = np.random.default_rng(0), 0.0, 0.0, 0.0
    for _ in range(40):
        logits = generator.normal(0, 5, (2100, 2))
        labels = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
        given = logits * scale
        found = [1.0, shrunk_temperature(given[:100], labels[:100]), fit_temperature(given[:100], labels[:100])]
        losses = [log_loss(labels[100:], softmax(given[100:] / temperature)) for temperature in found]
        before, after, pure = before + losses[0], after + losses[1], pure + losses[2]
    # Calibrated logits hardly change, and others get nearly all of the gain.
    assert after < (1.01 if scale == 1 else 0.99) * before
    assert after < (1.0 if scale == 1 else 1.03) * pure
