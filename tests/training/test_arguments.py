"""Checks of the trainer's arguments: each error states the requirement, the received value and the remedy."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.training.arguments import check_callbacks, choose_verbosity


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"learning_rate": 0}, "`learning_rate` must be a finite number above 0. Received: 0."),
        ({"learning_rate": float("nan")}, "`learning_rate` must be a finite number above 0. Received: nan."),
        ({"seed": -1}, "`seed` must be an integer of at least 0. Received: -1."),
        ({"precision": "half"}, "`precision` must be one of 'float32', 'bfloat16', 'float16'. Received: 'half'."),
        ({"engine": "warp-drive"}, "`engine` must be one of 'auto', 'keras', 'frozen_graph', 'openvino'. Received:"),
        ({"feature_dtype": "float8"}, "`feature_dtype` must be one of 'float32', 'float16'. Received: 'float8'."),
        ({"max_feature_bytes": -1}, "`max_feature_bytes` must be an integer of at least 0. Received: -1."),
        ({"callbacks": ["stop"]}, "`callbacks` must be a list of keras.callbacks.Callback. Received: 'stop'."),
    ],
)
def test_trainer_invalid_argument_raises(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as error:
        tk.Trainer(small_classifier(), **options)
    assert text in str(error.value)


def test_trainer_other_type_than_model_raises() -> None:
    with pytest.raises(TypeError, match="`model` must be a keras.Model. Received: str. Make one with build_classifier"):
        tk.Trainer("model.keras")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "`epochs` must be an integer of at least 1. Received: 0"),
        ({"num_views": 0}, "`num_views` must be an integer of at least 1. Received: 0"),
        ({"solver": "newton"}, "`solver` must be one of 'auto', 'adam', 'lbfgs'. Received: 'newton'"),
        ({"callbacks": [None]}, "`callbacks` must be a list of keras.callbacks.Callback. Received: None"),
    ],
)
def test_fit_invalid_argument_raises(data: Data, options: dict[str, Any], text: str) -> None:
    trainer = tk.Trainer(small_classifier())
    with pytest.raises(ValueError) as error:
        trainer.fit(data, **options)
    assert text in str(error.value)
    assert len(trainer.history) == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "`epochs` must be an integer of at least 1. Received: 0"),
        ({"num_views": 0}, "`num_views` must be an integer of at least 1. Received: 0"),
        ({"learning_rate": -1}, "`learning_rate` must be a finite number above 0. Received: -1"),
        ({"unfreeze_from": "top"}, "`unfreeze_from` must be the name of a layer of 'small'. Received: 'top'"),
        ({"unfreeze_from": 3, "blocks": 1}, "At most one of `unfreeze_from`, `fraction` and `blocks` must be given."),
        ({"callbacks": [None]}, "`callbacks` must be a list of keras.callbacks.Callback. Received: None"),
    ],
)
def test_fine_tune_invalid_argument_raises_and_changes_nothing(data: Data, options: dict[str, Any], text: str) -> None:
    trainer = tk.Trainer(small_classifier())
    optimizer, trainable = trainer.model.optimizer, len(trainer.model.trainable_variables)
    with pytest.raises(ValueError) as error:
        trainer.fine_tune(data, **options)
    assert text in str(error.value)
    assert trainer.model.optimizer is optimizer and len(trainer.model.trainable_variables) == trainable


@pytest.mark.parametrize("kind", [keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau])
def test_fit_with_monitor_of_missing_split_raises(synthetic: Path, kind: type) -> None:
    data = tk.DatasetBuilder(synthetic / "train", image_size=32).build()
    message = rf"Received: {kind.__name__}\(monitor='val_loss'\). Build the data with validation=0.2, or .*'loss'"
    with pytest.raises(ValueError, match=message):
        tk.Trainer(small_classifier()).fit(data, callbacks=[kind()])
    with pytest.raises(ValueError, match=message):
        tk.Trainer(small_classifier(), callbacks=[kind()]).fine_tune(data, unfreeze_from=0)


def test_fit_with_unused_monitor_of_missing_split(synthetic: Path, tmp_path: Path) -> None:
    data = tk.DatasetBuilder(synthetic / "train", image_size=32).build()
    # This one saves each epoch, whatever it monitors.
    callback = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    tk.Trainer(small_classifier()).fit(data, epochs=1, callbacks=[callback], verbose=0)
    assert (tmp_path / "model.keras").is_file()


def test_fit_with_later_element_out_of_range_raises() -> None:
    images = np.full((40, 32, 32, 3), 90, np.float32)
    images[33] = -images[33]
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(40) % 2)).batch(8)
    data = tk.DatasetBuilder(dataset, validation=dataset, image_size=32, class_names=["a", "b"]).build()
    trainer = tk.Trainer(small_classifier())
    message = "^The images of `(source|validation)` must be RGB in .*Received: .*-90"
    with pytest.raises(tk.DataError, match=message):
        trainer.fit(data, epochs=1, verbose=0)
    with pytest.raises(tk.DataError, match=message):
        trainer.evaluate(data.validation)
    with pytest.raises(tk.DataError, match=message):
        trainer.predict(data.train)


def test_fit_with_head_for_other_classes_raises(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(num_classes=5))
    with pytest.raises(tk.DataError, match=r"head of 5 logits .* for 2 classes .*ClassifierHead\(data.num_classes"):
        trainer.fit(data)


def test_fit_with_other_image_size_raises(synthetic: Path) -> None:
    other = tk.DatasetBuilder(synthetic, image_size=48).build()
    with pytest.raises(tk.DataError, match=r"\(32, 32\). Received: \(48, 48\). Build the data with image_size="):
        tk.Trainer(small_classifier()).fit(other)


def test_fit_without_data_raises() -> None:
    message = r"`data` must be the result of DatasetBuilder\(...\).build\(\). Received: str"
    with pytest.raises(TypeError, match=message):
        tk.Trainer(small_classifier()).fit("images/")


@pytest.mark.parametrize("method", ["predict", "predictor", "save"])
def test_predict_before_fit_raises(method: str, tmp_path: Path) -> None:
    trainer = tk.Trainer(small_classifier())
    arguments = {"predict": ("image.jpg",), "predictor": (), "save": (tmp_path / "folder",)}[method]
    message = rf"{method}\(\) needs the class names. Received: no training data yet. Call fit\(data\) first"
    with pytest.raises(tk.DataError, match=message):
        getattr(trainer, method)(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_check_callbacks_returns_tuple() -> None:
    stop = keras.callbacks.EarlyStopping()
    assert check_callbacks([stop]) == check_callbacks((stop,)) == check_callbacks(stop) == (stop,)
    assert check_callbacks(()) == ()


def test_choose_verbosity_by_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, chosen in ((Terminal(), 1), (io.StringIO(), 2), (None, 2)):
        monkeypatch.setattr(sys, "stdout", stream)
        assert choose_verbosity("auto") == chosen
        assert [choose_verbosity(verbose) for verbose in (0, 1, 2)] == [0, 1, 2]
