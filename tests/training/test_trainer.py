"""The trainer: both ways of training have equal losses, and only trainable layers change."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from tests.training.conftest import multi_label_data, small_classifier, small_network
from transferkit.data import Data
from transferkit.features import extraction
from transferkit.modeling.freezing import batch_norm_layers
from transferkit.modeling.keras_graph import find_backbone


def trained(data: Data, **options: Any) -> tk.Trainer:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, **options)
    trainer.fit(data, epochs=3, verbose=0)
    trainer.fine_tune(data, epochs=2, unfreeze_from="block2_conv", verbose=0)
    return trainer


def test_fit_on_features_equals_fit_on_images(data: Data) -> None:
    cached, uncached = trained(data), trained(data, cache=False)
    assert [phase.trained_on for phase in cached.history] == ["features", "features"]
    assert [phase.trained_on for phase in uncached.history] == ["images", "images"]
    for name, values in uncached.history.history.items():
        np.testing.assert_allclose(cached.history.history[name], values, atol=1e-4, err_msg=name)
    for actual, expected in zip(cached.model.get_weights(), uncached.model.get_weights()):
        np.testing.assert_allclose(actual, expected, atol=1e-4)


@pytest.mark.slow
def test_fine_tune_mobilenet_on_features_equals_on_images(photos: Path, mobilenet_weights: Path) -> None:
    # An untrained MobileNetV2 has features near zero, and so equal losses even where training is wrong.
    paths = [path for kind in ("cats", "dogs") for path in sorted((photos / "train" / kind).glob("*.jpg"))[:40]]
    labels = [path.parent.name for path in paths]
    data = tk.DatasetBuilder((paths, labels), validation=0.25, image_size=(96, 96), batch_size=16).build()
    losses = []
    for cache in (True, False):
        keras.utils.set_random_seed(3)
        backbone = tk.BackboneFactory.create(
            "MobileNetV2", input_shape=(96, 96, 3), weights=mobilenet_weights, alpha=0.35
        )
        trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)), learning_rate=1e-3, cache=cache)
        trainer.fine_tune(data, epochs=2, unfreeze_from=100, verbose=0)
        losses.append(trainer.history.history["loss"])
    assert losses[0][1] < 0.95 * losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-4)


@pytest.mark.parametrize("cache", [True, False])
def test_batch_norm_statistics_do_not_change(data: Data, cache: bool) -> None:
    model = small_classifier()
    statistics = [weight for layer in batch_norm_layers(find_backbone(model)) for weight in layer.weights]
    before = [np.asarray(weight).tobytes() for weight in statistics]
    trainer = tk.Trainer(model, learning_rate=1e-2, cache=cache)
    trainer.fit(data, epochs=1, verbose=0)
    trainer.fine_tune(data, epochs=1, unfreeze_from=0, verbose=0)
    assert [np.asarray(weight).tobytes() for weight in statistics] == before


@pytest.mark.parametrize("cache", [True, False])
def test_fit_trains_head_only(data: Data, cache: bool) -> None:
    model = small_classifier()
    before = find_backbone(model).get_weights()
    tk.Trainer(model, learning_rate=1e-2, cache=cache).fit(data, epochs=1, verbose=0)
    for actual, expected in zip(find_backbone(model).get_weights(), before):
        np.testing.assert_array_equal(actual, expected)
    assert np.abs(model.get_layer("logits").get_weights()[0]).max() > 0


def test_fine_tune_trains_from_given_layer_up(data: Data) -> None:
    model = small_classifier()
    base = find_backbone(model)
    before = {layer.name: layer.get_weights() for layer in base.layers}
    tk.Trainer(model, learning_rate=1e-1).fine_tune(
        data, epochs=1, unfreeze_from="block1_conv", keep_best=False, verbose=0
    )
    changed = {
        layer.name
        for layer in base.layers
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), before[layer.name]))
    }
    assert changed == {"block1_conv", "block2_conv"}


def test_fine_tune_continues_epoch_numbers(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    first = trainer.fit(data, epochs=2, verbose=0)
    second = trainer.fine_tune(data, epochs=1, verbose=0)
    assert isinstance(first, keras.callbacks.History)
    assert (first.epoch, second.epoch) == ([0, 1], [2])
    assert [phase.name for phase in trainer.history] == ["frozen", "fine-tuning"]
    assert [phase.learning_rate for phase in trainer.history] == pytest.approx([1e-2, 3e-3])
    assert set(first.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert len(trainer.history.history["loss"]) == 3


def test_fit_weights_depend_on_seed_only(data: Data) -> None:
    weights = []
    for seed in (0, 0, 1):
        augmentation = tk.AugmentationBlock(rotation=0.1)
        trainer = tk.Trainer(small_classifier(augmentation), learning_rate=1e-2, seed=seed)
        trainer.fit(data, epochs=2, verbose=0)
        weights.append(trainer.model.get_layer("logits").get_weights()[0].tobytes())
    assert weights[0] == weights[1] != weights[2]


def test_fit_caches_augmented_views(data: Data) -> None:
    model = small_classifier(tk.AugmentationBlock(flip="horizontal", rotation=0.2))
    trainer = tk.Trainer(model, learning_rate=1e-2)
    plan = trainer.plan(data, num_views=3)
    assert (plan.trained_on, plan.num_views) == ("features", 3)
    trainer.fit(data, epochs=3, num_views=3, verbose=0)
    assert tk.cache.info().sizes["features"] > 3 * 40 * 16 * 4


def test_fit_selects_engine_by_missing_rows(synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    compiled = extraction.compile_engine

    def counting(*args: Any, count: int, **options: Any) -> Any:
        counts.append(count)
        return compiled(*args, count=count, **options)

    monkeypatch.setattr(extraction, "compile_engine", counting)
    for source in (synthetic / "validation", synthetic, synthetic):
        data = tk.DatasetBuilder(source, image_size=(32, 32), batch_size=16).build()
        tk.Trainer(small_classifier()).fit(data, epochs=1, verbose=0)
    assert counts == [20, 40]


def test_fit_several_classes() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = generator.integers(0, 60, (60, 32, 32, 3)) + labels[:, None, None, None] * 90
    data = tk.DatasetBuilder((images.astype("uint8"), labels), validation=0.3, image_size=32, batch_size=10).build()
    trainer = tk.Trainer(small_classifier(num_classes=3), learning_rate=1e-1)
    trainer.fit(data, epochs=8, verbose=0)
    assert trainer.model.output_shape == (None, 3)
    assert trainer.evaluate(data.validation).accuracy > 0.9


def test_fit_several_labels_per_image() -> None:
    data = multi_label_data()
    trainer = tk.Trainer(small_classifier(num_classes=2, multi_label=True), learning_rate=1e-2)
    history = trainer.fit(data, epochs=2, verbose=0).history
    loss, accuracy = trainer.model.evaluate(data.validation, verbose=0)
    assert history["val_loss"][-1] == pytest.approx(loss, abs=1e-5)
    report = trainer.evaluate(data)
    assert report.loss == pytest.approx(loss, abs=1e-5) and 0 <= accuracy <= 1
    assert isinstance(trainer.model.loss, keras.losses.BinaryCrossentropy)


def test_fit_of_tutorial_model(data: Data) -> None:
    base = small_network()
    base.trainable = False
    images = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(images)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    trainer = tk.Trainer(keras.Model(images, keras.layers.Dense(1)(x)), learning_rate=1e-2)
    assert trainer.plan(data).trained_on == "features"
    trainer.fit(data, epochs=1, verbose=0)
    trainer.fine_tune(data, epochs=1, unfreeze_from=4, verbose=0)


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_fit_on_float16_features(synthetic: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferkit.training.feature_data._IN_MEMORY_BYTES", limit)
    splits = {"validation": synthetic / "validation"}
    data = tk.DatasetBuilder(synthetic / "train", **splits, image_size=48, batch_size=16).build()
    losses, plans = [], []
    for dtype in ("float32", "float16"):
        backbone = tk.BackboneFactory.create(small_network(48), preprocessing=None)
        head = tk.ClassifierHead(2, dropout=0.0)
        trainer = tk.Trainer(tk.build_classifier(backbone, head), learning_rate=1e-3, feature_dtype=dtype)
        trainer.model.layers[-1].kernel.assign(np.ones(trainer.model.layers[-1].kernel.shape) / 10)
        plans.append(trainer.plan(data))
        losses.append(trainer.fit(data, epochs=2, verbose=0).history["val_loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)
    assert plans[1].total_bytes * 2 == plans[0].total_bytes


def test_fit_auto_verbosity_without_terminal_has_plain_lines(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    for cache in (True, False):
        trainer = tk.Trainer(small_classifier(), cache=cache)
        trainer.fit(data, epochs=1)
        trainer.fine_tune(data, epochs=1)
    written = "".join(capsys.readouterr())
    assert "\r" not in written and "\b" not in written and "\x1b" not in written
    assert written.count("val_loss") == 4


@pytest.mark.slow
def test_fit_in_loop_has_no_retracing_warning(data: Data, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tensorflow"):
        for _ in range(5):
            for cache in (True, False):
                trainer = tk.Trainer(small_classifier(), cache=cache)
                trainer.fit(data, epochs=1, verbose=0)
                trainer.evaluate(data)
    assert "retracing" not in caplog.text


def test_evaluate_agrees_with_keras(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fit(data, epochs=2, verbose=0)
    loss, accuracy = trainer.model.evaluate(data.test, verbose=0)
    report = trainer.evaluate(data.test)
    assert report.accuracy == pytest.approx(accuracy)
    assert report.loss == pytest.approx(loss, abs=1e-5)
    assert report.class_names == ("cats", "dogs")
    assert list(report.paths) == data.files["test"]


def test_evaluate_shuffled_dataset(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fit(data, epochs=2, verbose=0)
    shuffled = data.validation.unbatch().shuffle(100).batch(7)
    report = trainer.evaluate(shuffled)
    assert report.accuracy == trainer.evaluate(data.validation).accuracy
    assert report.paths is None and report.class_names == ("cats", "dogs")


def test_evaluate_data_is_its_test_split(data: Data) -> None:
    trainer = tk.Trainer(small_classifier())
    assert list(trainer.evaluate(data).paths) == data.files["test"]
    without_test = dataclasses.replace(data, splits={name: data.splits[name] for name in ("train", "validation")})
    assert list(trainer.evaluate(without_test).paths) == data.files["validation"]
    only_training = dataclasses.replace(data, splits={"train": data.splits["train"]})
    with pytest.raises(TypeError, match="`dataset` must be a tf.data.Dataset .*Received: NoneType. Give data.test"):
        trainer.evaluate(only_training)


@pytest.mark.parametrize("cache", [True, False])
def test_evaluate_untrained_has_class_names_and_paths(data: Data, cache: bool) -> None:
    trainer = tk.Trainer(small_classifier(), cache=cache)
    for dataset in (data.validation, data.validation.prefetch(1)):
        report = trainer.evaluate(dataset)
        assert report.class_names == ("cats", "dogs")
        assert list(report.paths) == data.files["validation"]
    mapped = trainer.evaluate(data.validation.map(lambda images, labels: (255.0 - images, labels)))
    assert mapped.class_names == ("cats", "dogs") and mapped.paths is None
    other = tf.data.Dataset.from_tensor_slices((np.zeros((4, 32, 32, 3), "float32"), [0, 1, 0, 1])).batch(2)
    assert trainer.evaluate(other).class_names == ("class 0", "class 1")


@pytest.mark.parametrize("cache", [True, False])
def test_evaluate_training_split_paths_match_labels(data: Data, cache: bool) -> None:
    trainer = tk.Trainer(small_classifier(), cache=cache)
    trainer.fit(data, epochs=1, verbose=0)
    report = trainer.evaluate(data.train)
    assert sorted(report.paths) == sorted(data.files["train"])
    assert [Path(path).parent.name for path in report.paths] == [report.class_names[label] for label in report.labels]
    predicted = [prediction.label for prediction in trainer.predict(list(report.paths))]
    wrong = {record["path"] for record in report.mistakes()}
    expected = {path for path, label in zip(report.paths, predicted) if Path(path).parent.name != label}
    assert wrong == expected


def other_classes(folder: Path, synthetic: Path) -> Path:
    """Return a folder with the test images of `synthetic` under other class names."""
    for old, new in (("cats", "kitten"), ("dogs", "alsatian")):
        (folder / new).mkdir()
        for path in (synthetic / "validation" / old).glob("*.jpg"):
            (folder / new / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("difference", ["class_names", "image_spec"])
def test_evaluate_other_data_raises_and_changes_nothing(
    data: Data, synthetic: Path, tmp_path: Path, difference: str
) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fit(data, epochs=1, verbose=0)
    path = data.files["test"][0]
    before, saved = trainer.predict(path), (trainer.save(tmp_path / "one") / "transferkit.json").read_text()
    optimizer, weights = trainer.model.optimizer, trainer.model.get_weights()
    if difference == "class_names":
        (tmp_path / "other").mkdir()
        source, options = other_classes(tmp_path / "other", synthetic), {}
        message = r"must have the class names of the training data, \['cats', 'dogs'\].*'alsatian', 'kitten'"
    else:
        source, options = synthetic / "train", {"resize": "crop"}
        message = "must have the image spec of the training data, .*Received: .*'crop'"
    other = tk.DatasetBuilder(source, validation=0.5, image_size=32, **options).build()
    for dataset in (other, other.validation, other.validation.prefetch(1), other.train.map(lambda x, y: (x, y))):
        with pytest.raises(tk.DataError, match=message):
            trainer.evaluate(dataset)
    for method in (trainer.fit, trainer.fine_tune, trainer.plan):
        with pytest.raises(tk.DataError, match=message):
            method(other)
    after = trainer.predict(path)
    assert after.label == before.label and after.class_names == before.class_names == ("cats", "dogs")
    np.testing.assert_array_equal(after.probability_array, before.probability_array)
    assert trainer.predictor().image_spec == data.image_spec and trainer.model.optimizer is optimizer
    assert not find_backbone(trainer.model).trainable_variables
    for actual, expected in zip(trainer.model.get_weights(), weights):
        np.testing.assert_array_equal(actual, expected)
    assert (trainer.save(tmp_path / "two") / "transferkit.json").read_text().split("model_sha256")[0] == (
        saved.split("model_sha256")[0]
    )


def test_trainer_repr_has_history(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fit(data, epochs=2, verbose=0)
    assert repr(trainer) == "Trainer('classifier', learning_rate=0.01, RunHistory(frozen: 2 epochs))"
