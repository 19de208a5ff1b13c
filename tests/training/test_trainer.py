"""The trainer: both ways of training give the same, and nothing moves that must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier, small_network
from transferkit.classifier import find_backbone
from transferkit.data import Data
from transferkit.features import extraction as extract
from transferkit.features.linear_probe import fit_linear_probe, log_loss, logits_of
from transferkit.modeling.freezing import batch_norm_layers
from transferkit.training.linear_solver import solve_linear_head
from transferkit.training.objective import objective_for


def trained(data: Data, **options: Any) -> tk.Trainer:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, **options)
    trainer.fit(data, epochs=3, verbose=0)
    trainer.fine_tune(data, epochs=2, unfreeze_from="block2_conv", verbose=0)
    return trainer


def test_stored_features_and_ordinary_training_give_the_same_losses(data: Data) -> None:
    with_store, without = trained(data), trained(data, cache=False)
    assert [phase.trained_on for phase in with_store.history] == ["features", "features"]
    assert [phase.trained_on for phase in without.history] == ["images", "images"]
    for name, values in without.history.history.items():
        np.testing.assert_allclose(with_store.history.history[name], values, atol=1e-4, err_msg=name)
    for mine, theirs in zip(with_store.model.get_weights(), without.model.get_weights()):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_a_mobilenet_fine_tuned_from_the_middle_gives_the_same_losses_either_way(
    photos: Path, mobilenet_weights: Path
) -> None:
    # An untrained MobileNetV2 gives features near zero, and so the same losses whatever is done wrong.
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
def test_batch_normalisation_does_not_move_in_either_phase(data: Data, cache: bool) -> None:
    model = small_classifier()
    statistics = [weight for layer in batch_norm_layers(find_backbone(model)) for weight in layer.weights]
    before = [np.asarray(weight).tobytes() for weight in statistics]
    trainer = tk.Trainer(model, learning_rate=1e-2, cache=cache)
    trainer.fit(data, epochs=1, verbose=0)
    trainer.fine_tune(data, epochs=1, unfreeze_from=0, verbose=0)
    assert [np.asarray(weight).tobytes() for weight in statistics] == before


@pytest.mark.parametrize("cache", [True, False])
def test_the_frozen_phase_trains_the_head_alone(data: Data, cache: bool) -> None:
    model = small_classifier()
    before = find_backbone(model).get_weights()
    tk.Trainer(model, learning_rate=1e-2, cache=cache).fit(data, epochs=1, verbose=0)
    for mine, theirs in zip(find_backbone(model).get_weights(), before):
        np.testing.assert_array_equal(mine, theirs)
    assert np.abs(model.get_layer("logits").get_weights()[0]).max() > 0


def test_fine_tuning_trains_from_the_layer_asked_for_up(data: Data) -> None:
    model = small_classifier()
    base = find_backbone(model)
    before = {layer.name: layer.get_weights() for layer in base.layers}
    tk.Trainer(model, learning_rate=1e-1).fine_tune(data, epochs=1, unfreeze_from="block1_conv", verbose=0)
    moved = {
        layer.name
        for layer in base.layers
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), before[layer.name]))
    }
    assert moved == {"block1_conv", "block2_conv"}


def test_epochs_are_numbered_on_and_phases_kept(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    first = trainer.fit(data, epochs=2, verbose=0)
    second = trainer.fine_tune(data, epochs=1, verbose=0)
    assert isinstance(first, keras.callbacks.History)
    assert (first.epoch, second.epoch) == ([0, 1], [2])
    assert [phase.name for phase in trainer.history] == ["frozen", "fine-tuning"]
    assert [phase.learning_rate for phase in trainer.history] == pytest.approx([1e-2, 1e-3])
    assert set(first.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert len(trainer.history.history["loss"]) == 3


def test_the_same_seed_gives_the_same_weights_and_another_one_others(data: Data) -> None:
    weights = []
    for seed in (0, 0, 1):
        augmentation = tk.AugmentationBlock(rotation=0.1)
        trainer = tk.Trainer(small_classifier(augmentation), learning_rate=1e-2, seed=seed)
        trainer.fit(data, epochs=2, verbose=0)
        weights.append(trainer.model.get_layer("logits").get_weights()[0].tobytes())
    assert weights[0] == weights[1] != weights[2]


def test_augmented_draws_are_stored_and_taken_in_turn(data: Data) -> None:
    model = small_classifier(tk.AugmentationBlock(flip="horizontal", rotation=0.2))
    trainer = tk.Trainer(model, learning_rate=1e-2)
    plan = trainer.plan(data, views=3)
    assert (plan.trained_on, plan.views) == ("features", 3)
    trainer.fit(data, epochs=3, views=3, verbose=0)
    assert tk.cache.info().bytes["features"] > 3 * 40 * 16 * 4


def test_the_engine_is_chosen_by_what_is_not_stored_yet(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    compiled = extract.compile_engine

    def counting(*args: Any, count: int, **options: Any) -> Any:
        counts.append(count)
        return compiled(*args, count=count, **options)

    monkeypatch.setattr(extract, "compile_engine", counting)
    for source in (drawn / "validation", drawn, drawn):
        data = tk.DatasetBuilder(source, image_size=(32, 32), batch_size=16).build()
        tk.Trainer(small_classifier()).fit(data, epochs=1, verbose=0)
    assert counts == [20, 40]


def test_the_plan_says_what_is_stored_and_what_is_to_be_run(data: Data) -> None:
    model = small_classifier(tk.AugmentationBlock(flip="horizontal", rotation=0.2))
    trainer = tk.Trainer(model)
    training, held_out = len(data.splits["train"]), len(data.splits["validation"])
    plan = trainer.plan(data)
    assert (plan.cost.rows, plan.cost.missing) == (training + held_out,) * 2
    assert "half of those to train on in an augmented draw" in str(plan)
    trainer.fit(data, epochs=1, verbose=0)
    assert trainer.plan(data).cost.missing == 0
    assert f"All {training + held_out:,} are in the store." in str(trainer.plan(data))
    more = trainer.plan(data, views=2)
    # Of each image one version is there: itself, or its first draw.
    assert (more.cost.rows, more.cost.missing) == (2 * training + held_out, training)
    assert "also in 1 augmented draw" in str(more) and f"{training:,} have yet to be run" in str(more)
    assert tk.Trainer(small_classifier(), cache=False).plan(data).cost is None


def test_features_beyond_the_limit_fall_back_to_ordinary_training_and_say_so(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), max_feature_bytes=100)
    assert "the limit is" in str(trainer.plan(data))
    trainer.fit(data, epochs=1, verbose=0)
    assert trainer.history.phases[0].trained_on == "images"


def test_early_stopping_stops_both_ways_of_training(data: Data) -> None:
    for cache in (True, False):
        stop = keras.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=10)
        trainer = tk.Trainer(small_classifier(), callbacks=[stop], cache=cache)
        trainer.fit(data, epochs=5, verbose=0)
        assert trainer.history.phases[0].epochs == 2


def test_callbacks_see_the_whole_model(data: Data) -> None:
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(watch.model))
    trainer = tk.Trainer(small_classifier())
    trainer.fit(data, epochs=1, callbacks=[watch], verbose=0)
    assert seen == [trainer.model]


def test_evaluate_agrees_with_keras(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fit(data, epochs=2, verbose=0)
    loss, accuracy = trainer.model.evaluate(data.test, verbose=0)
    report = trainer.evaluate(data.test)
    assert report.accuracy == pytest.approx(accuracy)
    assert report.loss == pytest.approx(loss, abs=1e-5)
    assert report.class_names == ("cats", "dogs")
    assert list(report.paths) == data.files["test"]


def test_evaluate_takes_any_dataset_also_one_that_shuffles(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fit(data, epochs=2, verbose=0)
    shuffled = data.validation.unbatch().shuffle(100).batch(7)
    assert trainer.evaluate(shuffled).accuracy == trainer.evaluate(data.validation).accuracy


def test_several_classes_train_with_one_logit_each() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = generator.integers(0, 60, (60, 32, 32, 3)) + labels[:, None, None, None] * 90
    data = tk.DatasetBuilder((images.astype("uint8"), labels), validation=0.3, image_size=32, batch_size=10).build()
    trainer = tk.Trainer(small_classifier(num_classes=3), learning_rate=1e-1)
    trainer.fit(data, epochs=8, verbose=0)
    assert trainer.model.output_shape == (None, 3)
    assert trainer.evaluate(data.validation).accuracy > 0.9


def test_the_threshold_of_the_accuracy_is_at_logit_zero(data: Data) -> None:
    model = small_classifier()
    # Probability 0.55, logit 0.2: Keras' own accuracy, made for probabilities, would call it the first class.
    model.get_layer("logits").set_weights([np.zeros((16, 1)), np.array([0.2])])
    trainer = tk.Trainer(model)
    share_of_dogs = np.mean(data.splits["test"].labels == 1)
    assert trainer.model.evaluate(data.test, verbose=0)[1] == pytest.approx(share_of_dogs)
    assert trainer.evaluate(data.test).accuracy == pytest.approx(share_of_dogs)


def test_a_tutorials_own_model_is_trained_too(data: Data) -> None:
    base = small_network()
    base.trainable = False
    images = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(images)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    trainer = tk.Trainer(keras.Model(images, keras.layers.Dense(1)(x)), learning_rate=1e-2)
    assert trainer.plan(data).trained_on == "features"
    trainer.fit(data, epochs=1, verbose=0)
    trainer.fine_tune(data, epochs=1, unfreeze_from=4, verbose=0)


class TestBadCalls:
    def test_a_model_that_ends_in_probabilities(self) -> None:
        model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")])
        with pytest.raises(ValueError, match="must end in logits.*'sigmoid'.*Take the activation off"):
            tk.Trainer(model)

    def test_a_head_for_other_classes_than_the_data(self, data: Data) -> None:
        trainer = tk.Trainer(small_classifier(num_classes=5))
        with pytest.raises(tk.DataError, match=r"head of 5 logits .* for 2 classes .*ClassifierHead\(data.num_classes"):
            trainer.fit(data)

    def test_images_of_another_size(self, drawn: Any) -> None:
        other = tk.DatasetBuilder(drawn, image_size=48).build()
        with pytest.raises(tk.DataError, match=r"\(32, 32\). Received: \(48, 48\). Build the data with image_size="):
            tk.Trainer(small_classifier()).fit(other)

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"learning_rate": 0}, "`learning_rate` must be a finite number above 0. Received: 0."),
            ({"learning_rate": float("nan")}, "`learning_rate` must be a finite number above 0. Received: nan."),
            ({"seed": -1}, "`seed` must be an integer of at least 0. Received: -1."),
            (
                {"precision": "half"},
                "`precision` must be one of 'float32', 'bfloat16', 'float16'. Received: 'half'.",
            ),
        ],
    )
    def test_arguments_out_of_range(self, options: dict[str, Any], text: str) -> None:
        with pytest.raises(ValueError) as error:
            tk.Trainer(small_classifier(), **options)
        assert text in str(error.value)

    def test_epochs_and_views(self, data: Data) -> None:
        trainer = tk.Trainer(small_classifier())
        with pytest.raises(ValueError, match="`epochs` must be an integer of at least 1. Received: 0"):
            trainer.fit(data, epochs=0)
        with pytest.raises(ValueError, match="`views` must be an integer of at least 1. Received: 0"):
            trainer.fit(data, views=0)

    def test_something_else_than_data(self) -> None:
        with pytest.raises(TypeError, match=r"DatasetBuilder\(...\).build\(\) gives. Received: str"):
            tk.Trainer(small_classifier()).fit("photos/")

    def test_predicting_before_the_classes_are_known(self) -> None:
        with pytest.raises(tk.DataError, match=r"Received: no data yet. Call fit\(data\)"):
            tk.Trainer(small_classifier()).predict("photo.jpg")


def test_the_solver_finds_a_better_head_than_steps_do(data: Data) -> None:
    stepped, solved = tk.Trainer(small_classifier(), learning_rate=1e-3), tk.Trainer(small_classifier())
    stepped.fit(data, epochs=3, verbose=0)
    history = solved.fit(data, solver="lbfgs").history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history["loss"][0] < stepped.history.history["loss"][-1]
    report = solved.evaluate(data.validation)
    assert report.loss == pytest.approx(history["val_loss"][0], abs=1e-4)
    assert report.accuracy == pytest.approx(history["val_accuracy"][0])


def test_the_solver_takes_the_images_as_they_are_and_their_draws(data: Data) -> None:
    generator = np.random.default_rng(0)
    views = [(generator.normal(size=(40, 5)).astype("float32"),) for _ in range(3)]
    labels = generator.integers(0, 2, 40).astype("int32")
    upper = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    objective = objective_for(small_classifier())
    history = solve_linear_head(upper, views, labels, None, objective=objective, num_classes=2)
    together = np.concatenate([view[0] for view in views])
    expected = fit_linear_probe(together, np.tile(labels, 3), 2)
    np.testing.assert_allclose(upper.get_weights()[0], expected.kernel, rtol=1e-4)
    assert history["loss"][0] == pytest.approx(log_loss(logits_of(expected, together), np.tile(labels, 3), 2), rel=1e-5)


def test_the_solver_refuses_a_head_that_is_not_linear(data: Data) -> None:
    with pytest.raises(ValueError, match="must be given a linear head on a frozen backbone. Received: Dense, Dense"):
        tk.Trainer(small_classifier(hidden=(8,))).fit(data, solver="lbfgs")
