"""The linear classifier is the one that scikit-learn finds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from transferkit.features import linear_probe as linear
from transferkit.features.linear_probe import fit_linear_probe, log_loss, logits_of, select_linear_probe


def blobs(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, 200)
    centres = generator.normal(0, 1, (classes, 6))
    return centres[labels] + generator.normal(0, 1, (200, 6)) * [1, 5, 0.1, 1, 20, 1], labels


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("l2", [1e-3, 1e-1])
def test_it_agrees_with_scikit_learn(classes: int, l2: float) -> None:
    features, labels = blobs(classes)
    scaler = StandardScaler().fit(features)
    reference = LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-10, max_iter=10_000)
    reference.fit(scaler.transform(features), labels)
    fit = fit_linear_probe(features, labels, classes, l2=l2, max_steps=2000)
    logits = logits_of(fit, features)
    if classes == 2:
        mine = 1 / (1 + np.exp(-np.concatenate([-logits, logits], axis=1)))
    else:
        mine = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mine, reference.predict_proba(scaler.transform(features)), atol=1e-4)


def test_validation_chooses_the_strength() -> None:
    generator = np.random.default_rng(0)
    # Noise with many columns: without regularisation the held-out loss is terrible.
    noise, labels = generator.normal(size=(60, 100)), generator.integers(0, 2, 60)
    other, others = generator.normal(size=(60, 100)), generator.integers(0, 2, 60)
    chosen = select_linear_probe(noise, labels, other, others, 2)
    weak = fit_linear_probe(noise, labels, 2, l2=1e-4)
    assert chosen.l2 == 1.0
    assert log_loss(logits_of(chosen, other), others, 2) < log_loss(logits_of(weak, other), others, 2)


def test_a_constant_feature_does_no_harm() -> None:
    features, labels = blobs(2)
    features[:, 2] = 7.0
    fit = fit_linear_probe(features, labels, 2)
    assert np.isfinite(fit.kernel).all() and fit.kernel[2] == 0


def test_several_labels_an_image() -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(size=(100, 3))
    labels = (features @ np.eye(3) > 0).astype(float)
    fit = fit_linear_probe(features, labels, 3, l2=1e-3)
    assert ((logits_of(fit, features) > 0) == labels).mean() > 0.97


class OnDisk:
    """Features of which only slices can be had, as of those on disk."""

    def __init__(self, features: np.ndarray) -> None:
        self._features, self.shape, self.most = features, features.shape, 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        found = self._features[rows]
        self.most = max(self.most, len(found))
        return found


@pytest.mark.parametrize("classes", [2, 4])
def test_features_on_disk_are_read_in_blocks_and_give_the_same(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(classes)
    held, held_labels = blobs(classes, seed=1)
    whole = select_linear_probe(features, labels, held, held_labels, classes)
    monkeypatch.setattr(linear, "_BLOCK", 6 * 17)
    monkeypatch.setattr(linear, "_HELD", 0)
    stored = OnDisk(features)
    blocks = select_linear_probe(stored, labels, held, held_labels, classes)
    assert stored.most == 17
    assert blocks.l2 == whole.l2
    np.testing.assert_allclose(logits_of(blocks, stored), logits_of(whole, features), atol=1e-3)


def test_few_features_on_disk_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(2)
    monkeypatch.setattr(linear, "_HELD", features.size)
    stored = OnDisk(features)
    fit_linear_probe(stored, labels, 2)
    assert stored.most == len(features)
