"""Evaluation of a classifier over a dataset: logits, labels and penalties."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from tests.training.conftest import small_classifier, small_network
from transferkit.data import Data
from transferkit.training.evaluation import Evaluated, evaluate_batches, make_evaluation_step


def first_feature() -> keras.Model:
    inputs = keras.Input((2,))
    return keras.Model(inputs, inputs[:, :1])


def evaluate(dataset: tf.data.Dataset) -> Evaluated:
    return evaluate_batches(make_evaluation_step(first_feature(), jit_compile=False), dataset)


def test_logits_match_labels_of_shuffled_dataset() -> None:
    rows = np.arange(50, dtype="float32")
    dataset = tf.data.Dataset.from_tensor_slices((np.stack([rows, -rows], axis=1), rows)).shuffle(50).batch(8)
    found = evaluate(dataset)
    logits, labels = found.logits, found.labels
    assert logits.shape == (50, 1)
    np.testing.assert_array_equal(logits[:, 0], labels)
    np.testing.assert_array_equal(np.sort(labels), rows)


def test_evaluation_ignores_sample_weights() -> None:
    dataset = tf.data.Dataset.from_tensor_slices((np.ones((3, 2), "float32"), [0, 1, 2], [0.1, 0.2, 0.3])).batch(2)
    found = evaluate(dataset)
    logits, labels = found.logits, found.labels
    assert logits.ravel().tolist() == [1, 1, 1] and labels.tolist() == [0, 1, 2]


def test_evaluation_without_batches_raises() -> None:
    empty = tf.data.Dataset.from_tensor_slices((np.ones((0, 2), "float32"), np.ones(0))).batch(2)
    with pytest.raises(tk.DataError, match="`dataset` must have at least one batch. Received: none"):
        evaluate(empty)


def test_evaluate_of_diverged_model_raises(data: Data) -> None:
    trainer = tk.Trainer(small_classifier())
    trainer.model.set_weights([np.full_like(weight, np.nan) for weight in trainer.model.get_weights()])
    with pytest.raises(ValueError, match="must not be NaN. Received: NaN. Train it with a lower learning rate"):
        trainer.evaluate(data.validation)


@pytest.mark.parametrize("cache", [True, False])
def test_evaluate_counts_penalties_as_keras(data: Data, cache: bool) -> None:
    images = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(small_network()(images))
    pooled = keras.layers.ActivityRegularization(l2=0.01)(pooled)
    logits = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.5))(pooled)
    trainer = tk.Trainer(keras.Model(images, logits), learning_rate=0.05, cache=cache)
    history = trainer.fit(data, epochs=2, verbose=0).history
    loss = trainer.evaluate(data.validation).loss
    assert loss == pytest.approx(history["val_loss"][-1], rel=1e-4)
    assert loss == pytest.approx(trainer.model.evaluate(data.validation, verbose=0)[0], rel=1e-4)
