"""Class weights by name, by index and balanced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import multi_label_data, small_classifier
from transferkit.data import Data
from transferkit.training.class_weight import resolve_class_weight


def test_class_weight_by_name_equals_index(data: Data) -> None:
    first, second = data.class_names
    assert resolve_class_weight({second: 3.0}, data) == resolve_class_weight({np.int64(1): 3}, data) == {0: 1.0, 1: 3.0}
    assert resolve_class_weight({first: 0, 1: 2.0}, data) == {0: 0.0, 1: 2.0}
    assert resolve_class_weight(None, data) is None


def test_class_weight_balanced_by_hand() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    data = tk.DatasetBuilder((images, labels), image_size=32, validation=(255 - images, labels)).build()
    assert resolve_class_weight("balanced", data) == {0: 8 / 12, 1: 8 / 4}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("balance", "must be 'balanced' or a dict.*Received: 'balance'"),
        ([1, 2], "must be 'balanced' or a dict"),
        ({7: 1.0}, "indices from 0 to 1. Received: 7"),
        ({True: 1.0}, "Received: True"),
        ({"nothing": 1.0}, "must be class names.*Received: 'nothing'"),
        ({0: -1.0}, "finite numbers of at least 0. Received: -1.0 for 0"),
        ({0: float("nan")}, "Received: nan for 0"),
        ({0: "2"}, "Received: '2' for 0"),
    ],
)
def test_class_weight_bad_value_raises(data: Data, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"`class_weight`.*{message}|{message}"):
        tk.Trainer(small_classifier()).fit(data, epochs=1, class_weight=weights, verbose=0)


def test_class_weight_given_twice_raises(data: Data) -> None:
    with pytest.raises(ValueError, match="must give each class once"):
        resolve_class_weight({0: 1.0, data.class_names[0]: 2.0}, data)


def test_class_weight_of_multi_label_data_raises() -> None:
    with pytest.raises(ValueError, match="requires one label per image"):
        resolve_class_weight("balanced", multi_label_data())


@pytest.mark.parametrize("options", [{"class_weight": {0: 2.0}}, {"callbacks": ["x"]}])
def test_lbfgs_with_options_of_epochs_raises(data: Data, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` is not supported with solver='lbfgs'"):
        tk.Trainer(small_classifier()).fit(data, solver="lbfgs", verbose=0, **options)
