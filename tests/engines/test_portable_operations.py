"""Operations that are traced in a form that all runtimes support."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from transferkit.engines.frozen_graph import frozen_function
from transferkit.engines.portable_operations import portable_operations


class Rolled(keras.layers.Layer):
    def call(self, images: Any) -> Any:
        rolled = keras.ops.roll(images, shift=(-1, 5), axis=(1, 2))
        mask = keras.ops.slice_update(keras.ops.zeros((4, 6, 1)), [1, 2, 0], keras.ops.ones((2, 3, 1)) * 7)
        return rolled + mask


def test_roll_and_slice_update_are_traced_without_operations_of_their_names() -> None:
    images = keras.Input((4, 6, 3))
    model = keras.Model(images, Rolled()(images))
    values = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
    expected = np.roll(values, (-1, 5), (1, 2))
    expected[:, 1:3, 2:5] += 7
    function = frozen_function(model, 2)
    np.testing.assert_allclose(function(values)[0], expected, atol=1e-6)
    operations = {operation.type for operation in function.graph.get_operations()}
    assert not {"Roll", "XlaDynamicUpdateSlice"} & operations and "ConcatV2" in operations


@pytest.mark.parametrize("shift", [0, 6, -7])
def test_roll_by_any_number_of_steps_and_of_unknown_length(shift: int) -> None:
    values = np.arange(6.0, dtype="float32")
    images = keras.Input((6, 1, 3))
    with portable_operations(keras.Model(images, images)):
        rolled = keras.ops.roll(values, shift, axis=0)
        flat = keras.ops.roll(values.reshape(2, 3), shift)
    np.testing.assert_array_equal(rolled, np.roll(values, shift, 0))
    np.testing.assert_array_equal(flat, np.roll(values.reshape(2, 3), shift))
