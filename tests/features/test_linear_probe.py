"""Linear probes agree with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from transferkit.features import linear_probe
from transferkit.features.linear_probe import (
    L2_GRID,
    _folds,
    cross_validated_l2,
    fit_linear_probe,
    log_loss,
    probe_logits,
    select_linear_probe,
)


def blobs(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, 200)
    centers = generator.normal(0, 1, (classes, 6))
    return centers[labels] + generator.normal(0, 1, (200, 6)) * [1, 5, 0.1, 1, 20, 1], labels


@pytest.fixture
def own_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standardize each feature by its own standard deviation, as scikit-learn does."""
    monkeypatch.setattr(linear_probe, "_SHRINKAGE", 0.0)


@pytest.mark.usefixtures("own_scales")
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("l2", [1e-3, 1e-1])
def test_fit_linear_probe_agrees_with_scikit_learn(classes: int, l2: float) -> None:
    features, labels = blobs(classes)
    scaler = StandardScaler().fit(features)
    reference = LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-10, max_iter=10_000)
    reference.fit(scaler.transform(features), labels)
    fit = fit_linear_probe(features, labels, classes, l2=l2, max_steps=2000)
    logits = probe_logits(fit, features)
    if classes == 2:
        actual = 1 / (1 + np.exp(-np.concatenate([-logits, logits], axis=1)))
    else:
        actual = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(actual, reference.predict_proba(scaler.transform(features)), atol=1e-4)


def test_fit_linear_probe_scales_are_between_own_and_common() -> None:
    # 100 images: the geometric mean of a feature's standard deviation, 1 or 7, and that of all, 5.
    generator = np.random.default_rng(0)
    features = generator.normal(size=(100, 2))
    features = (features - features.mean(axis=0)) / features.std(axis=0) * [1.0, 7.0]
    labels = (features[:, 0] + generator.normal(size=100) > 0).astype(int)
    scaled = features / np.sqrt([1.0 * 5.0, 7.0 * 5.0])
    reference = LogisticRegression(C=1 / (0.1 * 100), tol=1e-10, max_iter=10_000).fit(scaled, labels)
    logits = probe_logits(fit_linear_probe(features, labels, 2, l2=0.1), features)
    np.testing.assert_allclose(logits[:, 0], reference.decision_function(scaled), atol=1e-4)


def test_fit_linear_probe_with_few_images_ignores_rare_features() -> None:
    # A feature that one of four images has to a small degree would separate the classes as well as the first one.
    features, labels = np.array([[1.0, 0.0], [1.1, 0.0], [-1.0, 0.0], [-1.0, -0.001]]), np.array([1, 1, 0, 0])
    kernel = fit_linear_probe(features, labels, 2, l2=1.0).kernel[:, 0] * features.std(axis=0)
    assert kernel[0] > 0.1 and abs(kernel[1]) < 0.01 * kernel[0]


def test_fit_linear_probe_from_start_is_same_optimum() -> None:
    features, labels = blobs(3)
    start = fit_linear_probe(features, labels, 3, l2=1.0)
    first, second = (fit_linear_probe(features, labels, 3, l2=0.1, start=one, max_steps=2000) for one in (None, start))
    np.testing.assert_allclose(probe_logits(second, features), probe_logits(first, features), atol=1e-2)


def test_fit_linear_probe_constant_feature_has_zero_weight() -> None:
    features, labels = blobs(2)
    features[:, 2] = 7.0
    fit = fit_linear_probe(features, labels, 2)
    assert np.isfinite(fit.kernel).all() and fit.kernel[2] == 0


def test_fit_linear_probe_with_several_labels() -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(size=(100, 3))
    labels = (features @ np.eye(3) > 0).astype(float)
    fit = fit_linear_probe(features, labels, 3, l2=1e-3)
    assert ((probe_logits(fit, features) > 0) == labels).mean() > 0.97


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_classes": 0}, "`num_classes` must be an integer of at least 1. Received: 0."),
        ({"l2": -1}, "`l2` must be a finite number of at least 0. Received: -1."),
    ],
)
def test_fit_linear_probe_invalid_argument_raises(options: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError) as error:
        fit_linear_probe(*blobs(2), **{"num_classes": 2, **options})
    assert text in str(error.value)


def test_select_linear_probe_by_validation_loss() -> None:
    generator = np.random.default_rng(0)
    # Noise with many columns: without regularization the validation loss is high.
    noise, labels = generator.normal(size=(60, 100)), generator.integers(0, 2, 60)
    validation, validation_labels = generator.normal(size=(60, 100)), generator.integers(0, 2, 60)
    selected = select_linear_probe(noise, labels, validation, validation_labels, 2)
    weak = fit_linear_probe(noise, labels, 2, l2=1e-4)
    assert selected.l2 == 10.0 == max(L2_GRID)
    losses = [log_loss(probe_logits(probe, validation), validation_labels, 2) for probe in (selected, weak)]
    assert losses[0] < losses[1]


def test_log_loss_by_hand() -> None:
    assert log_loss(np.log([[1.0, 2.0, 5.0]]), np.array([2]), 3) == pytest.approx(np.log(8 / 5))
    assert log_loss(np.array([[0.0], [1000.0]]), np.array([1, 1]), 2) == pytest.approx(np.log(2) / 2)
    assert log_loss(np.zeros((2, 4)), np.eye(2, 4), 4) == pytest.approx(np.log(2))


class OnDisk:
    """Features that can be read by slices only, as those on disk."""

    def __init__(self, features: np.ndarray) -> None:
        self._features, self.shape, self.most = features, features.shape, 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        found = self._features[rows]
        self.most = max(self.most, len(found))
        return found


@pytest.mark.parametrize("classes", [2, 4])
def test_select_linear_probe_in_blocks_is_equal(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(classes)
    validation, validation_labels = blobs(classes, seed=1)
    expected = select_linear_probe(features, labels, validation, validation_labels, classes)
    monkeypatch.setattr(linear_probe, "_BLOCK_VALUES", 6 * 17)
    monkeypatch.setattr(linear_probe, "_MEMORY_VALUES", 0)
    stored = OnDisk(features)
    actual = select_linear_probe(stored, labels, validation, validation_labels, classes)
    assert stored.most == 17
    assert actual.l2 == expected.l2
    np.testing.assert_allclose(probe_logits(actual, stored), probe_logits(expected, features), atol=1e-3)


def test_fit_linear_probe_reads_few_features_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(2)
    monkeypatch.setattr(linear_probe, "_MEMORY_VALUES", features.size)
    stored = OnDisk(features)
    fit_linear_probe(stored, labels, 2)
    assert stored.most == len(features)


@pytest.mark.usefixtures("own_scales")
@pytest.mark.parametrize("per_class", [20, 30])
def test_cross_validated_l2_equals_scikit_learn(per_class: int) -> None:
    generator = np.random.default_rng(3)
    features, labels = generator.normal(size=(3 * per_class, 20)), np.arange(3 * per_class) % 3
    features[:, 0] += 0.8 * labels
    folds = _folds(labels, 5)
    assert all(np.bincount(labels[folds == fold]).tolist() == [per_class // 5] * 3 for fold in range(5))
    losses = {}
    for l2 in L2_GRID:
        per_image = np.zeros(len(labels))
        for fold in range(5):
            inside = folds != fold
            mean, scale = features[inside].mean(axis=0), features[inside].std(axis=0)
            model = LogisticRegression(C=1 / (l2 * inside.sum()), tol=1e-8, max_iter=5000)
            model.fit((features[inside] - mean) / scale, labels[inside])
            probabilities = model.predict_proba((features[~inside] - mean) / scale)
            per_image[~inside] = -np.log(probabilities[np.arange((~inside).sum()), labels[~inside]])
        losses[l2] = per_image
    best = min(losses, key=lambda l2: losses[l2].mean())
    # One standard error, up to 20 images per class.
    error = losses[best].std(ddof=1) / np.sqrt(len(labels)) if per_class == 20 else 0
    expected = max(l2 for l2 in losses if losses[l2].mean() <= losses[best].mean() + error)
    assert (expected > best) == (per_class == 20)
    assert cross_validated_l2(features, labels, 3) == expected


def test_cross_validated_l2_of_class_with_one_image() -> None:
    features = np.random.default_rng(0).normal(size=(5, 3))
    assert cross_validated_l2(features, np.array([0, 0, 1, 1, 2]), 3) is None
