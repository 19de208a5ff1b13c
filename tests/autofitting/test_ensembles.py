"""Greedy selection of members, and the model that adds their logits."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

import transferkit as tk
from tests.autofitting.conftest import small_backbone
from transferkit.autofitting.ensembles import Member, build_ensemble, select_members


def closeness(target: np.ndarray) -> object:
    return lambda mean: (-float(np.abs(mean - target).sum()),)


def test_best_alone_where_no_other_improves_it() -> None:
    logits = [np.array([[3.0]]), np.array([[1.0]]), np.array([[9.0]])]
    assert select_members(logits, closeness(np.array([[1.0]]))) == {1: 1.0}


def test_weights_follow_from_repeated_members() -> None:
    # (2 * 3 + 9) / 3 = 5 is exact; one of each is 6.
    logits = [np.array([[3.0]]), np.array([[9.0]])]
    assert select_members(logits, closeness(np.array([[5.0]]))) == {0: 2 / 3, 1: 1 / 3}


def test_equal_members_are_the_first() -> None:
    logits = [np.array([[3.0]]), np.array([[3.0]])]
    assert select_members(logits, closeness(np.array([[0.0]]))) == {0: 1.0}


def head_model(backbone: tk.Backbone, seed: int, kind: str = "linear") -> keras.Model:
    options = {"max_images": 8} if kind == "knn" else {}
    model = tk.build_classifier(backbone, tk.ClassifierHead(3, kind=kind, **options))
    generator = np.random.default_rng(seed)
    for layer in model.layers[3:]:
        layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    return model


def test_model_adds_scaled_logits_and_is_saved(tmp_path: Path) -> None:
    first, second = small_backbone(), small_backbone()
    models = [head_model(first, 0), head_model(first, 1, "knn"), head_model(second, 2, "prototype")]
    members = [Member(model, factor, key) for model, factor, key in zip(models, (0.5, 2.0, 1.0), (0, 0, 1))]
    ensemble = build_ensemble(members)
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    expected = sum(np.asarray(model(images)) * factor for model, factor in zip(models, (0.5, 2.0, 1.0)))
    np.testing.assert_allclose(ensemble(images), expected, rtol=1e-4, atol=1e-4)
    assert [layer.name for layer in ensemble.layers if layer.name.startswith("features")] == [
        "features_0",
        "features_1",
    ]
    ensemble.save(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(
        keras.saving.load_model(tmp_path / "ensemble.keras")(images), ensemble(images), rtol=1e-5
    )
