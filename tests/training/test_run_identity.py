"""The identity of a run: what changes the result is in it, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.training.run_identity import describe_differences, run_identity


def arrays(seed: int = 0, flip: bool = False) -> Data:
    images = np.random.default_rng(seed).integers(0, 256, (16, 32, 32, 3), np.uint8)
    labels = np.arange(16) % 2
    return tk.DatasetBuilder((images, 1 - labels if flip else labels), image_size=32, validation=0.25).build()


def differences(first: Any, second: Any, data: tuple[Data, Data] | None = None) -> str:
    one, two = data or (arrays(), arrays())
    return describe_differences(run_identity(first, one, {}), run_identity(second, two, {}))


def test_identity_of_same_run_is_equal() -> None:
    # The initial weights of hidden layers and of the head are left out: they may have no seed.
    assert differences(small_classifier(), small_classifier()) == ""


def test_identity_contains_data() -> None:
    model = small_classifier()
    assert "other train images" in differences(model, model, (arrays(), arrays(seed=1)))
    assert "other train labels" in differences(model, model, (arrays(), arrays(flip=True)))
    cropped = arrays()
    spec = dataclasses.replace(cropped.image_spec, resize="crop")
    assert "image_spec" in differences(model, model, (arrays(), dataclasses.replace(cropped, image_spec=spec)))


@pytest.mark.parametrize(
    "options", [{"l2": 0.1}, {"dropout": 0.5}, {"pooling": "max"}, {"hidden": (4,)}, {"seed": 1}], ids=str
)
def test_identity_contains_head(options: dict[str, Any]) -> None:
    assert differences(small_classifier(), small_classifier(**options)) == "other model"


def test_identity_contains_augmentation_and_frozen_weights() -> None:
    plain = small_classifier()
    assert differences(plain, small_classifier(tk.AugmentationBlock(rotation=0.1))) == "other model"
    other = small_classifier()
    layer = other.get_layer("small").get_layer("block0_conv")
    layer.set_weights([2 * value for value in layer.get_weights()])
    assert differences(plain, other) == "other model"


def test_describe_differences_shows_options() -> None:
    saved, current = {"seed": 1, "epochs": 2}, {"seed": 2, "epochs": 2, "engine": "keras"}
    expected = "seed: 1 in the file, 2 now; engine: None in the file, 'keras' now"
    assert describe_differences(saved, current) == expected
