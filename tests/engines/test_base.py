"""Batches of engines, and Keras as an engine."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.engines.conftest import images_for, keras_outputs
from tests.training.conftest import small_network
from transferkit.engines import compile_engine
from transferkit.engines.base import EngineError, KerasEngine
from transferkit.engines.verification import relative_error
from transferkit.runtimes.base import concatenate, pad_batch, run_batches


@pytest.mark.parametrize("count", [1, 4, 11])
def test_keras_engine_outputs_equal_predict(count: int) -> None:
    model = small_network(48)
    images = images_for(model, count)
    engine = KerasEngine(model, 4)
    (actual,) = engine(images)
    assert (engine.name, engine.precision, engine.batch_size, engine.streams) == ("keras", "float32", 4, 1)
    assert actual.dtype == np.float32 and len(actual) == count
    assert relative_error((actual,), keras_outputs(model, images)) < 1e-6


def test_keras_engine_of_mixed_precision_model_returns_float32() -> None:
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, keras.layers.Conv2D(2, 3, dtype="mixed_bfloat16")(images))
    (actual,) = KerasEngine(model, 4)(np.zeros((3, 8, 8, 3), np.uint8))
    assert actual.dtype == np.float32


class Failing(keras.layers.Layer):
    """A layer whose configuration lets it be built, but not run."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        raise AttributeError("no \33[31m\nscale")

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


@pytest.mark.parametrize("engine", ["keras", "frozen_graph", "openvino", "auto"])
def test_engine_of_model_that_fails_raises(engine: str) -> None:
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, Failing()(images), name="broken")
    message = r"must run on images of its input size. Received: 'broken', which raises AttributeError \(.*no "
    with pytest.raises(EngineError, match=message) as raised:
        compile_engine(model, engine=engine, count=1000)(np.zeros((1, 8, 8, 3), np.uint8))
    assert "\33" not in str(raised.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("count", [1, 3])
def test_pad_batch_adds_zeros(dtype: type, count: int) -> None:
    images = np.ones((count, 2, 2, 3), dtype)
    padded = pad_batch(images, 3)
    assert padded.shape == (3, 2, 2, 3) and padded.dtype == np.float32 and padded.flags.c_contiguous
    assert padded[:count].all() and not padded[count:].any()


def test_run_batches_drops_padding() -> None:
    shapes: list[tuple[int, ...]] = []

    def run(batch: np.ndarray) -> tuple[np.ndarray, ...]:
        shapes.append(batch.shape)
        return batch.sum(axis=(1, 2, 3)), batch[:, 0, 0]

    images = np.arange(7 * 12, dtype=np.float32).reshape(7, 2, 2, 3)
    sums, corners = run_batches(run, images, 3)
    assert shapes == [(3, 2, 2, 3)] * 3
    np.testing.assert_array_equal(sums, images.sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(corners, images[:, 0, 0])


def test_concatenate_joins_each_output() -> None:
    first, second = np.array([[1], [2]]), np.array([[3]])
    joined = concatenate([(first, -first), (second, -second)])
    assert [output.ravel().tolist() for output in joined] == [[1, 2, 3], [-1, -2, -3]]
    assert concatenate([(first,)])[0] is first
