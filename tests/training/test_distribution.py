"""MirroredStrategy on two logical CPU devices: values of one device, a last batch of one row, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from tests.training.conftest import small_classifier
from tests.training.two_devices import CASES
from transferkit.training.distribution import pad_batches

# Most time is for tracing the steps of each case.
FAST = ("features", "stored_features")
SLOW = [case for case in CASES if case not in FAST]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("devices")
    return run_cases(folder / "home", str(folder / "checkpoints"), *FAST)


@pytest.fixture(scope="module")
def found_slow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_cases(tmp_path_factory.mktemp("devices"), "-", *SLOW)


def run_cases(home: Path, *arguments: str) -> dict[str, Any]:
    environment = {**os.environ, "TRANSFERKIT_HOME": str(home)}
    command = [sys.executable, "-m", "tests.training.two_devices", *arguments]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", FAST)
def test_two_devices_have_the_values_of_one(found: dict[str, Any], case: str) -> None:
    check_equal(found[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW)
def test_two_devices_have_the_values_of_one_with_other_options(found_slow: dict[str, Any], case: str) -> None:
    check_equal(found_slow[case])


def check_equal(differences: dict[str, float]) -> None:
    differences = dict(differences)
    assert differences.pop("moved") > 1e-3
    assert max(differences.values()) < 1e-6, differences


def test_one_row_has_one_prediction_and_weights_are_on_two_devices(found: dict[str, Any]) -> None:
    assert found["predictions"] == [1, 2]


def test_augmentation_is_active_on_two_devices(found: dict[str, Any]) -> None:
    assert found["augmented"] > 1e-4


def test_a_checkpoint_is_continued_to_the_same_weights(found: dict[str, Any]) -> None:
    assert found["resumed"] == 0.0


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("outside", "`model` must be built inside the scope of `strategy`, backbone included."),
        ("none", "Received: None, and a model built in the scope of a MirroredStrategy."),
        ("data_parallel", "TensorFlow trains on one device without a message. Received: DataParallel."),
        ("other", "must be a tf.distribute.MirroredStrategy. Received: str."),
        ("clip_norm", "`clip_norm` is not supported with a strategy"),
        ("clipvalue", "`clipvalue` is not supported with a strategy"),
        ("accumulate_steps", "`accumulate_steps` is not supported with a strategy"),
        ("mixup", "`mixup or cutmix` is not supported with a strategy"),
        ("reduction", "`loss` must have the reduction 'sum_over_batch_size' on several devices."),
        ("unknown", "must have a known number of batches"),
        ("find", "find_learning_rate requires one device."),
    ],
)
def test_what_is_not_supported_with_a_strategy_raises(found: dict[str, Any], case: str, message: str) -> None:
    assert message in found["errors"][case]


def test_strategy_with_keras_that_adds_metrics_wrongly_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras, "__version__", "3.9.2")
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        model = small_classifier()
    with pytest.raises(ValueError, match="`strategy` requires Keras 3.10 or later.*Received: Keras 3.9.2"):
        tk.Trainer(model, strategy=strategy)


def test_batches_are_padded_by_hand() -> None:
    batches = tf.data.Dataset.from_tensor_slices((np.arange(6.0), np.array([0, 1, 2, 0, 1, 2]))).batch(5)

    def padded(*weights: Any) -> list[list[list[float]]]:
        return [[np.asarray(part).tolist() for part in batch] for batch in pad_batches(batches, 2, *weights)]

    assert padded() == [
        [[0.0, 1.0, 2.0, 3.0, 4.0, 0.0], [0, 1, 2, 0, 1, 0], [1.0, 1.0, 1.0, 1.0, 1.0, -1.0]],
        [[5.0, 5.0], [2, 2], [1.0, -1.0]],
    ]
    assert [batch[2] for batch in padded({0: 2.0, 1: 1.0, 2: 0.5})] == [[2.0, 1.0, 0.5, 2.0, 1.0, -1.0], [0.5, -1.0]]
