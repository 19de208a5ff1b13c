"""The optimizer of a trainer: never in the place of the user's, and not shared by two trainers."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier, small_network
from transferkit.data import Data


def test_compiled_model_raises() -> None:
    model = small_classifier()
    model.compile("sgd", "hinge")
    with pytest.raises(ValueError, match="`model` must not be compiled.*Received: a model compiled with SGD and hinge"):
        tk.Trainer(model)
    assert isinstance(model.optimizer, keras.optimizers.SGD)


def test_model_compiled_after_trainer_raises(data: Data) -> None:
    trainer = tk.Trainer(small_classifier())
    trainer.model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must not be compiled"):
        trainer.fit(data, epochs=1, verbose=0)


def test_fit_under_mixed_float16_policy(data: Data) -> None:
    # Keras scales the loss then, for which it wraps the optimizer.
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
        losses = trainer.fit(data, epochs=3, verbose=0).history["loss"]
        trainer.fine_tune(data, epochs=1, unfreeze_from=0, verbose=0)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert losses[-1] < losses[0] and isinstance(trainer.model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_two_trainers_of_one_model_keep_their_rates(data: Data) -> None:
    model = small_classifier()
    first, second = tk.Trainer(model, learning_rate=0.1), tk.Trainer(model, learning_rate=1e-5)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    second.fit(data, epochs=1, verbose=0)
    first.fit(data, epochs=1, verbose=0)
    rates = [trainer.history.phases[0].learning_rate for trainer in (first, second)]
    assert rates == pytest.approx([0.1, 1e-5])


def test_layers_unfrozen_by_user_are_trained(data: Data) -> None:
    model = small_classifier()
    trainer = tk.Trainer(model, learning_rate=1e-2)
    trainer.fit(data, epochs=1, verbose=0)
    layer = model.get_layer("small").get_layer("block2_conv")
    layer.trainable, before = True, layer.get_weights()[0]
    trainer.fit(data, epochs=1, verbose=0)
    assert (layer.get_weights()[0] != before).any()


def test_fit_of_frozen_model_raises(data: Data) -> None:
    model = small_classifier()
    model.trainable = False
    with pytest.raises(ValueError, match="At least one layer of the model must be trainable.*Received: 'classifier'"):
        tk.Trainer(model).fit(data, epochs=1, verbose=0)
    assert 0 <= tk.Trainer(model).evaluate(data).accuracy <= 1


def test_model_that_cannot_be_loaded_raises_before_training(data: Data) -> None:
    class Unregistered(keras.layers.Layer):
        def call(self, inputs: object) -> object:
            return inputs

    small = small_classifier()
    trainer = tk.Trainer(keras.Model(small.input, Unregistered(name="mine")(small.output)))
    with pytest.raises(ValueError, match="must be serializable.*'mine'.*register_keras_serializable"):
        trainer.fit(data, epochs=1, verbose=0)


def test_fine_tuning_shared_backbone_warns(data: Data) -> None:
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    first, second = (tk.build_classifier(backbone, tk.ClassifierHead(2)) for _ in range(2))
    with pytest.warns(UserWarning, match="'small' is part of 1 other classifier, whose predictions change"):
        tk.Trainer(second).fine_tune(data, epochs=1, verbose=0)
    assert first.built


def test_fine_tuning_unshared_backbone_does_not_warn(data: Data, recwarn: pytest.WarningsRecorder) -> None:
    tk.Trainer(small_classifier()).fine_tune(data, epochs=1, verbose=0)
    assert not [warning for warning in recwarn if "other classifier" in str(warning.message)]


def test_two_classifiers_of_one_backbone_train_and_save(data: Data, tmp_path: Path) -> None:
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    head, augmentation = tk.ClassifierHead(2), tk.AugmentationBlock(rotation=0.1)
    image = np.full((32, 32, 3), 9, np.uint8)
    for name in ("one", "two", "three"):
        trainer = tk.Trainer(tk.build_classifier(backbone, head, augmentation=augmentation), learning_rate=1e-2)
        trainer.fit(data, epochs=1, verbose=0)
        trainer.save(tmp_path / name)
        expected = trainer.predict(image).probability_array
        np.testing.assert_allclose(tk.load(tmp_path / name).predict(image).probability_array, expected, atol=1e-5)


def test_another_constant_rate_keeps_the_state_of_the_optimizer(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-3)
    trainer.fit(data, epochs=1, verbose=0)
    optimizer, steps = trainer.model.optimizer, int(trainer.model.optimizer.iterations)
    trainer.fit(data, epochs=1, learning_rate=1e-2, verbose=0)
    assert trainer.model.optimizer is optimizer and int(optimizer.iterations) == 2 * steps
    assert [phase.learning_rate for phase in trainer.history] == pytest.approx([1e-3, 1e-2])
