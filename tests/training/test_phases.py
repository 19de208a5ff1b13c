"""One phase: callbacks, early stopping and random numbers are those of Keras' `fit` on the classifier."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.training.phases import ReseedCallback


@pytest.mark.parametrize("cache", [True, False])
def test_early_stopping_stops(data: Data, cache: bool) -> None:
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=10)
    trainer = tk.Trainer(small_classifier(), callbacks=[stop], cache=cache)
    trainer.fit(data, epochs=5, verbose=0)
    assert trainer.history.phases[0].epochs == 2


@pytest.mark.parametrize("cache", [True, False])
def test_callbacks_see_classifier(data: Data, cache: bool) -> None:
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(watch.model))
    trainer = tk.Trainer(small_classifier(), cache=cache)
    trainer.fit(data, epochs=1, callbacks=[watch], verbose=0)
    assert seen == [trainer.model]


@pytest.mark.parametrize("cache", [True, False])
def test_callbacks_see_epoch_numbers_and_steps(data: Data, cache: bool) -> None:
    epochs: list[int] = []
    params: list[dict[str, Any]] = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epochs.append(epoch), on_train_begin=lambda logs: params.append(watch.params)
    )
    trainer = tk.Trainer(small_classifier(), cache=cache, callbacks=[watch])
    trainer.fit(data, epochs=2, verbose=0)
    trainer.fine_tune(data, epochs=1, verbose=0)
    steps = -(-len(data.splits["train"]) // 16)
    assert epochs == [0, 1, 2]
    assert [(one["epochs"], one["steps"]) for one in params] == [(2, steps), (3, steps)]


@pytest.mark.parametrize("cache", [True, False])
def test_best_weights_are_restored_to_classifier(data: Data, cache: bool) -> None:
    kernels: list[np.ndarray] = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kernels.append(watch.model.get_layer("logits").get_weights()[0])
    )
    # No epoch improves on the first by so much.
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=1, min_delta=10, restore_best_weights=True)
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, cache=cache, callbacks=[watch, stop])
    trainer.fit(data, epochs=4, verbose=0)
    np.testing.assert_array_equal(trainer.model.get_layer("logits").get_weights()[0], kernels[0])


def test_fit_on_tf_data_of_user() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((images, np.arange(12) % 2)).batch(4)
    data = tk.DatasetBuilder(batches, validation=batches, image_size=32, class_names=["a", "b"]).build()
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    history = trainer.fit(data, epochs=2, verbose=0).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert trainer.history.phases[0].trained_on == "images" and int(trainer.model.optimizer.iterations) == 6
    assert trainer.evaluate(data).class_names == ("a", "b")


def test_reseed_callback_states_follow_from_seed_and_epoch() -> None:
    model = small_classifier(tk.AugmentationBlock(rotation=0.1), dropout=0.3)
    states = [variable for variable in model.variables if variable.name == "seed_generator_state"]
    assert len(states) >= 2

    def state(seed: int, epoch: int) -> list[tuple[int, ...]]:
        ReseedCallback(model, seed).on_epoch_begin(epoch)
        return [tuple(np.asarray(variable).tolist()) for variable in states]

    first = state(0, 0)
    assert len(set(first)) == len(states)
    assert all(not set(first) & set(other) for other in (state(0, 1), state(1, 0)))
    assert state(0, 0) == first
