"""Options of training: the same losses, metrics and weights on cached features as on images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import multi_label_data, small_classifier
from transferkit.data import Data
from transferkit.training.optimizers import _CLASSES

OPTIMIZERS: dict[str, dict[str, Any]] = {name: {"trainer": {"optimizer": name}} for name in _CLASSES}
SCHEDULES: dict[str, dict[str, Any]] = {
    name: {"fit": {"schedule": name}} for name in ("constant", "cosine", "one_cycle", "plateau")
}
OPTIONS: dict[str, dict[str, Any]] = {
    **OPTIMIZERS,
    **SCHEDULES,
    "keras_schedule": {"fit": {"schedule": keras.optimizers.schedules.ExponentialDecay(1e-2, 2, 0.5)}},
    "instance": {"trainer": {"optimizer": keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)}},
    "scheduled_instance": {
        "trainer": {"optimizer": keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(1e-2, 9))}
    },
    "weight_decay": {"trainer": {"weight_decay": 0.1}},
    "clip_norm": {"trainer": {"clip_norm": 0.01}},
    "accumulate_steps": {"trainer": {"accumulate_steps": 2}},
    "ema": {"trainer": {"ema": 0.9}},
    "focal": {"trainer": {"loss": "focal"}},
    "keras_loss": {"trainer": {"loss": keras.losses.Hinge()}},
    "label_smoothing": {"trainer": {"label_smoothing": 0.1}},
    "metrics": {"trainer": {"metrics": ["auc", "pr_auc", "macro_f1", "balanced_accuracy", "precision_at_recall_0.5"]}},
    "class_weight": {"trainer": {"class_weight": {"dogs": 3.0}}},
    "early_stopping": {"fit": {"early_stopping": 1, "keep_best": True, "epochs": 6, "learning_rate": 0.3}},
}


def train(
    data: Data, options: dict[str, Any], *, cache: bool, model: keras.Model | None = None, fine_tune: bool = True
) -> tk.Trainer:
    settings = {"learning_rate": 1e-2, "engine": "keras", **options.get("trainer", {})}
    if not isinstance(settings.get("optimizer", ""), str):
        del settings["learning_rate"]
    trainer = tk.Trainer(model or small_classifier(), cache=cache, **settings)
    trainer.fit(data, **{"epochs": 3, "verbose": 0, **options.get("fit", {})})
    if fine_tune:
        trainer.fine_tune(data, epochs=2, unfreeze_from="block2_conv", keep_best=False, verbose=0)
    return trainer


def assert_equal(cached: tk.Trainer, plain: tk.Trainer) -> None:
    for name, values in plain.history.history.items():
        np.testing.assert_allclose(cached.history.history[name], values, atol=1e-5, err_msg=name)
    for actual, expected in zip(cached.model.get_weights(), plain.model.get_weights()):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


# Each kind of option once; the others, which go the same ways through the code, take minutes.
FAST = {
    "adamw",
    "cosine",
    "accumulate_steps",
    "ema",
    "metrics",
    "class_weight",
    "early_stopping",
}
assert set(OPTIONS) > FAST


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in OPTIONS]
)
def test_training_on_features_equals_on_images(data: Data, name: str) -> None:
    # Optimizers differ in their updates only, for which one phase is enough, and options of `fit` are those of one.
    phases = 1 if (name in OPTIMIZERS and name != "adamw") or set(OPTIONS[name]) == {"fit"} else 2
    cached, plain = (train(data, OPTIONS[name], cache=cache, fine_tune=phases == 2) for cache in (True, False))
    assert [phase.trained_on for phase in cached.history] == ["features"] * phases
    assert_equal(cached, plain)


@pytest.mark.parametrize("cache", [True, False])
def test_training_with_sample_weights_on_features_equals_on_images(cache: bool) -> None:
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (24, 32, 32, 3), np.uint8), np.arange(24) % 2
    weights = np.where(np.arange(24) < 12, 0.0, 2.0).astype("float32")
    weighted = tk.DatasetBuilder((images, labels, weights), image_size=32, batch_size=24).build()
    unweighted = tk.DatasetBuilder((images[12:], labels[12:]), image_size=32, batch_size=24).build()
    # Adam divides by gradients near zero, which differ in the order of their sums.
    settings: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1, "engine": "keras", "cache": cache}
    trainers = [tk.Trainer(small_classifier(dropout=0.0), **settings) for _ in range(2)]
    for trainer, data in zip(trainers, (weighted, unweighted)):
        trainer.fit(data, epochs=3, verbose=0)
    # Half of the images have the weight 0 and half 2: the mean is that of the second half. Accuracy has no weights.
    losses = [trainer.history.history["loss"] for trainer in trainers]
    np.testing.assert_allclose(*losses, atol=1e-5)
    for actual, expected in zip(*(trainer.model.get_weights() for trainer in trainers)):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_training_with_mixup_on_images_whether_cached_or_not(data: Data) -> None:
    models = [small_classifier(tk.AugmentationBlock(flip=None, mixup=0.4)) for _ in range(2)]
    cached, plain = (train(data, {}, cache=cache, model=model) for cache, model in zip((True, False), models))
    assert "MixUp" in cached.plan(data).reason and cached.history.phases[0].trained_on == "images"
    assert_equal(cached, plain)
    without = train(data, {}, cache=False)
    assert without.history.history["loss"] != plain.history.history["loss"]


@pytest.mark.parametrize("metric", ["macro_f1", "auc", "pr_auc"])
def test_multi_label_metrics(metric: str) -> None:
    data = multi_label_data()
    trainer = tk.Trainer(small_classifier(multi_label=True), learning_rate=1e-2, metrics=[metric])
    assert 0 <= trainer.fit(data, epochs=2, verbose=0).history[f"val_{metric}"][-1] <= 1


def test_fit_uses_given_optimizer_in_both_phases(data: Data) -> None:
    given = keras.optimizers.SGD(0.05, momentum=0.8)
    trainer = tk.Trainer(small_classifier(), optimizer=given)
    trainer.fit(data, epochs=1, verbose=0)
    first = trainer.model.optimizer
    trainer.fine_tune(data, epochs=1, schedule="constant", verbose=0)
    second = trainer.model.optimizer
    assert [type(optimizer) for optimizer in (first, second)] == [keras.optimizers.SGD] * 2
    assert (first.momentum, second.momentum) == (0.8, 0.8) and not given.built
    assert float(first.learning_rate) == pytest.approx(0.05) and float(second.learning_rate) == pytest.approx(0.015)


def test_keep_best_of_fine_tune_counts_the_weights_before(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fit(data, epochs=3, verbose=0)
    before = [np.array(weight) for weight in trainer.model.get_weights()]
    losses = trainer.fine_tune(data, epochs=2, learning_rate=10.0, verbose=0).history["val_loss"]
    assert min(losses) > trainer.history.phases[0].history["val_loss"][-1]
    for actual, expected in zip(trainer.model.get_weights(), before):
        np.testing.assert_array_equal(actual, expected)


def test_early_stopping_restores_best_epoch(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=0.5)
    losses = trainer.fit(data, epochs=30, early_stopping=2, keep_best=True, verbose=0).history["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 30
    assert trainer.model.evaluate(data.validation, verbose=0)[0] == pytest.approx(losses[best], abs=1e-5)


def test_fit_phases_runs_all_phases(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    phases = [tk.Phase("frozen", epochs=2), tk.Phase("fine-tuning", epochs=3, fraction=1.0, gradual=True)]
    history = trainer.fit_phases(data, phases)
    assert history.epoch == [0, 1, 2, 3, 4] and len(history.history["loss"]) == 5
    assert [phase.name for phase in trainer.history] == ["frozen"] + ["fine-tuning"] * 3
    with pytest.raises(TypeError, match="`phases` must be a sequence of Phase. Received: 'frozen'"):
        trainer.fit_phases(data, ["frozen"])


def test_l2_sp_keeps_weights_near_their_start(data: Data) -> None:
    distances = []
    for strength in (0.0, 500.0):
        trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
        start = trainer.model.get_weights()
        trainer.fine_tune(data, epochs=3, fraction=1.0, l2_sp=strength, keep_best=False, verbose=0)
        distances.append(sum(float(np.abs(a - b).sum()) for a, b in zip(trainer.model.get_weights(), start)))
    assert distances[1] < 0.5 * distances[0]


def test_layer_decay_multiplies_updates_of_sgd(data: Data) -> None:
    moved = []
    for decay in (1.0, 0.5):
        trainer = tk.Trainer(small_classifier(dropout=0.0), optimizer="sgd", learning_rate=1e-3, cache=False)
        start = trainer.model.get_weights()
        whole = tk.DatasetBuilder(
            (data.splits["train"].paths, data.splits["train"].labels), image_size=32, batch_size=64
        ).build()
        trainer.fine_tune(whole, epochs=1, fraction=1.0, layer_decay=decay, keep_best=False, verbose=0)
        moved.append([b - a for a, b in zip(start, trainer.model.get_weights())])
    kernels = [index for index, change in enumerate(moved[0]) if change.ndim == 4]
    # One step of SGD: block 2 is next to the head, block 0 three blocks below it.
    for index, factor in zip(kernels, (0.125, 0.25, 0.5)):
        np.testing.assert_allclose(moved[1][index], factor * moved[0][index], atol=1e-7)


def test_find_learning_rate_changes_nothing(data: Data, tmp_path: Path) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fit(data, epochs=1, verbose=0)
    variables = [*trainer.model.variables, *trainer.model.optimizer.variables]
    before = [np.asarray(variable).tobytes() for variable in variables]
    found = trainer.find_learning_rate(data, steps=60)
    assert [np.asarray(variable).tobytes() for variable in variables] == before
    assert [*trainer.model.variables, *trainer.model.optimizer.variables] == variables
    assert 1e-6 < found.suggestion < 1 and len(found.losses) == len(found.learning_rates) > 15
    found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"optimizer": "adma"},
            "`optimizer` must be the name or an instance of a Keras optimizer. Received: 'adma'",
        ),
        ({"learning_rate": 0}, "`learning_rate` must be a finite number above 0. Received: 0."),
        ({"weight_decay": -1}, "`weight_decay` must be a finite number of at least 0. Received: -1"),
        ({"clip_norm": 0}, "`clip_norm` must be a finite number above 0. Received: 0"),
        ({"accumulate_steps": 0}, "`accumulate_steps` must be an integer of at least 1. Received: 0"),
        ({"ema": 1.0}, r"`ema` must be in \(0, 1\), or a bool. Received: 1.0"),
        ({"loss": "focl"}, "`loss` must be the name of a loss. Received: 'focl'. Did you mean 'focal'"),
        (
            {"loss": keras.losses.BinaryCrossentropy()},
            "`loss` is computed from logits. Received: BinaryC",
        ),
        ({"loss": "hinge", "label_smoothing": 0.1}, "`label_smoothing` is not supported with the loss 'hinge'"),
        ({"label_smoothing": 1}, r"`label_smoothing` must be in \[0, 1\). Received: 1."),
        ({"metrics": ["f2"]}, "`metrics` must have names of metrics. Received: 'f2'"),
        ({"metrics": ["top_9_accuracy"]}, "`metrics` must have a k in 'top_k_accuracy'"),
        ({"metrics": ["auc", keras.metrics.AUC(name="auc")]}, "`metrics` must have different names"),
    ],
)
def test_trainer_with_wrong_option_raises(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tk.Trainer(small_classifier(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": "all"}, "`epochs` must be an integer of at least 1. Received: 'all'. Give a number such as 10, or"),
        ({"schedule": "cosin"}, "`schedule` must be one of .* Received: 'cosin'. Did you mean 'cosine'"),
        ({"early_stopping": 0}, "`early_stopping` must be an integer of at least 1. Received: 0"),
        ({"solver": "lbfgs", "schedule": "cosine"}, "`schedule` is not supported with solver='lbfgs'"),
        ({"learning_rate": -1}, "`learning_rate` must be a finite number above 0. Received: -1"),
    ],
)
def test_fit_with_wrong_option_raises(data: Data, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tk.Trainer(small_classifier()).fit(data, **{"verbose": 0, **options})


def test_monitor_without_such_metric_raises(data: Data) -> None:
    with pytest.raises(ValueError, match="`monitor` must be a metric of this phase. Received: 'val_auc'"):
        tk.Trainer(small_classifier()).fit(data, epochs=1, early_stopping=1, monitor="val_auc", verbose=0)
