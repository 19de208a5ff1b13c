"""Predictions of images that were left out, backbones on this machine, halving, and fine-tuning within the time."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.autofitting.conftest import small_backbone
from tests.training.conftest import small_network
from transferkit.autofitting.budget import Budget
from transferkit.autofitting.development import make_development
from transferkit.autofitting.fine_tuning import StopAtDeadline, has_enough_mistakes, improves, possible_epochs
from transferkit.autofitting.halving import select_finalists
from transferkit.autofitting.heads import HeadChoice, left_out_logits, to_logits, train_head
from transferkit.autofitting.search import Search
from transferkit.autofitting.sources import Source, available_backbones, make_sources
from transferkit.features.few_shot import fit_prototypes, unit_rows
from transferkit.features.linear_probe import fit_linear_probe, probe_logits


@pytest.mark.parametrize("kind", ["linear", "prototype"])
def test_logits_of_a_fold_are_of_a_head_without_it(data: tk.Data, kind: str) -> None:
    development, backbone = make_development(data, 0), small_backbone()
    sample = development.sample(40)
    features = backbone.features(sample.split)
    found = left_out_logits(kind, features, sample, (backbone, development, 0), lambda seconds: True)
    assert found is not None
    head, logits = found
    fold, rows, labels = sample.folds[2], sample.outside(sample.folds[2]), sample.split.labels
    if kind == "linear":
        expected = probe_logits(fit_linear_probe(features[rows], labels[rows], 2, l2=head.l2), features[fold])
    else:
        units = unit_rows(features)
        expected = probe_logits(fit_prototypes(units[rows], labels[rows], 2), units[fold])
    np.testing.assert_allclose(logits[fold], expected, atol=0.02)


def test_final_head_is_that_of_the_trial(data: tk.Data) -> None:
    development, backbone = make_development(data, 0), small_backbone()
    sample = development.sample(40)
    trainer = HeadChoice("linear", 0.1).train(backbone, development, sample, 0)
    features = backbone.features(sample.split)
    probe = fit_linear_probe(features, sample.split.labels, 2, l2=0.1)
    np.testing.assert_allclose(trainer.model.get_layer("logits").get_weights()[0], probe.kernel, atol=1e-4)


def test_trials_leave_the_state_of_keras(data: tk.Data) -> None:
    development, backbone = make_development(data, 0), small_backbone()
    sample = development.sample(40)
    keras.layers.Dense(1)
    before = keras.layers.Dense(1).name
    left_out_logits("prototype", backbone.features(sample.split), sample, (backbone, development, 0), lambda _: True)
    left_out_logits("knn", backbone.features(sample.split), sample, (backbone, development, 0), lambda _: True)
    # A cleared session would start again with the names of layers that the user has already.
    assert int(keras.layers.Dense(1).name.rpartition("_")[2]) > int(before.rpartition("_")[2])


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_trial_without_time_for_its_folds_is_none(data: tk.Data, kind: str) -> None:
    development, backbone = make_development(data, 0), small_backbone()
    sample = development.sample(40)
    features = backbone.features(sample.split)
    context = backbone, development, 0
    assert left_out_logits(kind, features, sample, context, lambda seconds: seconds == 0) is None


def test_heads_of_one_backbone_share_its_features(data: tk.Data, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = small_backbone()
    backbone.features(data.splits["train"])
    train = make_development(data, 0).data_of(data.splits["train"])
    from transferkit.features import extraction

    monkeypatch.setattr(extraction, "compute_shard", lambda *_, **__: pytest.fail("not cached"))
    for kind in ("linear", "prototype", "knn", "mlp"):
        assert len(train_head(HeadChoice(kind, 0.1 if kind == "linear" else None), backbone, train, 0).history) == 1


def test_to_logits_are_logits_of_the_probabilities() -> None:
    two, three = np.array([[0.2, 0.8]]), np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(to_logits(two, False), [[np.log(4)]])
    np.testing.assert_allclose(np.exp(to_logits(three, False)), three)
    np.testing.assert_allclose(to_logits(two, True), np.log([[1 / 4, 4]]))
    assert np.isfinite(to_logits(np.array([[0.0, 1.0]]), False)).all()


def test_halving_drops_failed_and_poor_backbones() -> None:
    # Dark and bright images.
    images = (np.arange(40) % 2 * 120 + np.arange(40))[:, None, None, None] * np.ones((32, 32, 3))
    labels = np.arange(40) % 2
    images = images.astype(np.uint8)
    data = tk.DatasetBuilder((images, labels), image_size=32, test=(images[:8] + 1, labels[:8])).build()
    constant = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Rescaling(0.0), keras.layers.Conv2D(4, 3)])
    poor = [tk.BackboneFactory.create(_renamed(constant, f"poor_{number}")) for number in range(3)]
    sources = make_sources(["MobileNetV9", *poor, small_backbone()], (32, 32))
    development = make_development(data, 0)
    finalists = select_finalists(sources, development, Budget(math.inf), "accuracy", 0.0)
    assert [source.name for source in finalists] == ["small", "poor_0", "poor_1"]
    assert "Did you mean 'MobileNetV2'" in str(sources[0].error)


def _renamed(model: keras.Model, name: str) -> keras.Model:
    images = keras.Input((32, 32, 3))
    return keras.Model(images, model(images), name=name)


def test_features_without_time_are_none(data: tk.Data) -> None:
    now = [0.0]
    budget, source = Budget(10.0, clock=lambda: now[0]), Source(small_backbone(), (32, 32))
    source.per_image = 1.0
    assert source.features(data.splits["train"], budget, 0.0) is None
    source.per_image = 0.1
    assert source.features(data.splits["train"], budget, 7.0) is None
    found = source.features(data.splits["train"], budget, 0.0)
    assert found is not None and found.shape == (40, 16) and source.seconds > 0


def test_sample_is_smaller_where_features_take_too_long(data: tk.Data) -> None:
    source, budget = Source(small_backbone(), (32, 32)), Budget(1000.0, 1, clock=lambda: 0.0)
    source.per_image = 21.5
    found = Search(make_development(data, 0), [source], budget, "accuracy", 0).run()
    # 0.7 * (1000 - 80 for the reserve - 20 * 21.5 for the test images) / 21.5, and at least 10 per class.
    assert len(found.sample) == len(found.trials[0].logits) == 20
    assert np.bincount(found.sample.split.labels).tolist() == [10, 10]


def test_available_backbones_are_installed_or_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    folder = tmp_path / "models"
    folder.mkdir()
    for name in (
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_160_no_top.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_160_no_top.h5",
        "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "efficientnetv2-b0_notop.h5",
        "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        "mine_no_top.h5",
    ):
        (folder / name).write_bytes(b"")
    found = [name for name in available_backbones() if not name.startswith("EfficientNetLite")]
    assert sorted(found) == ["EfficientNetV2B0", "MobileNetV2", "MobileNetV3Small", "ResNet50V2"]


def test_no_backbone_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferkit.autofitting.sources.available_backbones", lambda: [])
    with pytest.raises(tk.WeightsError, match="`backbones` must be given where no weights are on this machine"):
        make_sources(None, (32, 32))
    with pytest.raises(ValueError, match="`backbones` must have at least one backbone. Received: none"):
        make_sources([], (32, 32))


def test_possible_epochs_follow_from_the_time() -> None:
    backbone = small_backbone()
    assert possible_epochs(backbone, 320, 32, Budget(math.inf), 0.0) == 30
    assert possible_epochs(backbone, 320, 32, Budget(3600.0), 10.0) == 30
    assert possible_epochs(backbone, 320, 32, Budget(30.0), 10.0) == 0


def test_training_stops_when_the_reserve_is_reached() -> None:
    now = [0.0]
    stop = StopAtDeadline(Budget(100.0, clock=lambda: now[0]), 20.0, 8, 0)
    stop.set_model(small_network())
    for seconds, expected in ((50.0, False), (79.0, False), (81.0, True)):
        now[0] = seconds
        stop.on_train_batch_begin(0)
        stop.on_train_batch_end(0)
        assert bool(getattr(stop.model, "stop_training", False)) == expected


def test_fine_tuning_needs_mistakes() -> None:
    labels, logits = np.array([0, 1, 1, 1, 0, 0]), np.array([[1.0], [-1.0], [-1.0], [2.0], [-1.0], [-1.0]])
    assert has_enough_mistakes(logits, labels, np.arange(6)) and not has_enough_mistakes(logits, labels, np.arange(2))
    several = np.eye(3)[[0, 1, 2, 0]]
    assert has_enough_mistakes(several, np.array([1, 2, 0, 0]), np.arange(4))
    assert not has_enough_mistakes(several, np.array([0, 1, 2, 1]), np.arange(4))
    assert has_enough_mistakes(np.ones((3, 2)), np.array([[1, 0]] * 3), np.arange(3))


def test_improves_by_two_standard_errors() -> None:
    labels = np.arange(40) % 2
    weak, strong = ((2 * labels[:, None] - 1) * size for size in (0.5, 3.0))
    assert improves(weak, strong, labels) and not improves(strong, weak, labels) and not improves(weak, weak, labels)
