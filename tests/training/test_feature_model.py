"""Models that train several batches per call: as many as requested, and none of the next epoch."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.classifier import find_augmentation
from transferkit.modeling.freezing import unfreeze
from transferkit.modeling.keras_graph import find_backbone
from transferkit.training.feature_model import FeatureModel, ModelParts, steps_per_call


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 100, 127, 313, 6250])
def test_steps_per_call_are_about_equal(steps: int) -> None:
    size = steps_per_call(steps)
    calls = -(-steps // size)
    assert size <= 64 and calls == -(-steps // 64)
    assert calls * size - steps < calls


def test_feature_model_takes_batches_of_own_epoch() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (290, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(290) % 2), image_size=32, batch_size=3, validation=0.1).build()
    histories, counts = [], []
    for cache in (True, False):
        trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, cache=cache)
        histories.append(trainer.fit(data, epochs=3, verbose=0).history)
        counts.append(int(trainer.model.optimizer.iterations))
    assert len(data.splits["train"]) == 260, "87 batches: more than one call takes, and no multiple"
    assert counts == [3 * 87, 3 * 87]
    for name, values in histories[1].items():
        np.testing.assert_allclose(histories[0][name], values, atol=1e-5, err_msg=name)


def test_feature_model_stops_in_the_middle_of_an_epoch() -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.model.stop_training = True

    images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(200) % 2), image_size=32, batch_size=2, validation=0.1).build()
    trainer = tk.Trainer(small_classifier())
    history = trainer.fit(data, epochs=3, callbacks=[Stop()], verbose=0)
    assert len(history.history["loss"]) == 1
    assert int(trainer.model.optimizer.iterations) == 45
    assert len(trainer.fit(data, epochs=2, verbose=0).history["loss"]) == 2


def test_feature_model_with_class_weight_equals_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(40) % 2), image_size=32, batch_size=8, validation=0.2).build()
    histories = []
    for cache, weights in ((True, {0: 0.2, 1: 3.0}), (False, {0: 0.2, 1: 3.0}), (True, None)):
        trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, cache=cache)
        histories.append(trainer.fit(data, epochs=2, class_weight=weights, verbose=0).history)
    for name, values in histories[1].items():
        np.testing.assert_allclose(histories[0][name], values, atol=1e-5, err_msg=name)
    assert abs(histories[2]["loss"][0] - histories[0]["loss"][0]) > 1e-2


def test_model_parts_are_kept_until_trainable_changes() -> None:
    model = small_classifier(tk.AugmentationBlock(rotation=0.1))
    parts = ModelParts.of(model, None)
    assert ModelParts.of(model, parts) is parts
    assert parts.to_fit("features", "float32") is parts.to_fit("features", "float32")
    assert parts.partition.augmentation is find_augmentation(model)
    unfreeze(find_backbone(model), "block2_conv")
    changed = ModelParts.of(model, parts)
    assert changed is not parts and "block2_conv" not in changed.partition.layers


def test_model_parts_to_fit_shares_layers() -> None:
    model = small_classifier()
    parts = ModelParts.of(model, None)
    assert parts.to_fit("images", "float32") is model
    for trained_on, precision in (("features", "float32"), ("features", "bfloat16"), ("images", "bfloat16")):
        fitted = parts.to_fit(trained_on, precision)
        assert isinstance(fitted, FeatureModel) and fitted.compute_precision == precision
        assert {id(weight) for weight in fitted.trainable_weights} == {id(weight) for weight in model.trainable_weights}


def test_model_parts_reduced_with_own_train_step_raises() -> None:
    class Own(keras.Model):
        def train_step(self, data: object) -> object:
            return super().train_step(data)

    small = small_classifier()
    parts = ModelParts.of(Own(small.input, small.output), None)
    assert isinstance(parts.to_fit("images", "float32"), Own)
    with pytest.raises(ValueError, match="Received: a model that overrides it. Use precision='float32', or the train"):
        parts.to_fit("images", "bfloat16")
