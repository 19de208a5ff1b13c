"""Models that could not be loaded are found before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest

from transferkit.modeling.serialization import check_serializable


class Unregistered(keras.layers.Layer):
    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def call(self, inputs: Any) -> Any:
        return 2 * inputs


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = keras.layers.Conv2D(2, 3)

    def call(self, inputs: Any) -> Any:
        return self.convolution(inputs)


@keras.saving.register_keras_serializable("tests")
class Scale(keras.layers.Layer):
    def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}

    def call(self, inputs: Any) -> Any:
        return self.factor * inputs


@keras.saving.register_keras_serializable("tests")
class Incomplete(keras.layers.Layer):
    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        return super().get_config()

    def call(self, inputs: Any) -> Any:
        return self.factor * inputs


@keras.saving.register_keras_serializable("tests")
class NotJson(keras.layers.Layer):
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "values": {1, 2}}

    def call(self, inputs: Any) -> Any:
        return inputs


@keras.saving.register_keras_serializable("tests")
class RegisteredModel(keras.Model):
    def __init__(self, filters: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.convolution = keras.layers.Conv2D(filters, 3)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}

    def call(self, inputs: Any) -> Any:
        return self.convolution(inputs)


def double(inputs: Any) -> Any:
    return 2 * inputs


@keras.saving.register_keras_serializable("tests")
def triple(inputs: Any) -> Any:
    return 3 * inputs


@keras.saving.register_keras_serializable("tests")
class BuiltByCall(keras.layers.Layer):
    """Its inner layer is built by the first call, which Keras leaves out when it loads the layer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@keras.saving.register_keras_serializable("tests")
class Built(BuiltByCall):
    def build(self, input_shape: Any) -> None:
        self.dense.build(input_shape)


def called(layer: keras.layers.Layer) -> keras.layers.Layer:
    layer(keras.ops.zeros((1, 8, 8, 3)))
    return layer


def model_of(*layers: Callable[[Any], Any]) -> keras.Model:
    images = outputs = keras.Input((8, 8, 3))
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(images, outputs, name="net")


def shared_layer() -> keras.Model:
    dense = keras.layers.Dense(3)
    return model_of(dense, dense, keras.layers.GlobalAveragePooling2D())


@pytest.mark.parametrize(
    "make",
    [
        lambda: model_of(Scale(3.0)),
        lambda: model_of(RegisteredModel(4)),
        lambda: model_of(called(Built())),
        lambda: model_of(keras.layers.Dense(2, activation=triple)),
        lambda: model_of(keras.layers.Dense(2, activation="relu", dtype="mixed_float16")),
        lambda: model_of(keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.1))),
        lambda: model_of(lambda images: keras.ops.sigmoid(images[:, 0] * 2 + keras.ops.ones((3,)))),
        lambda: model_of(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), Scale()])),
        lambda: model_of(keras.layers.TimeDistributed(keras.layers.Dense(2))),
        shared_layer,
        lambda: keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35, input_shape=(32, 32, 3)),
        lambda: keras.applications.ConvNeXtTiny(weights=None, include_top=False, input_shape=(32, 32, 3)),
    ],
)
def test_check_serializable(make: Callable[[], keras.Model]) -> None:
    check_serializable(make())


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda: model_of(Unregistered(name="own")), r"'own' \(Unregistered\): Could not locate class 'Unregistered'"),
        (lambda: model_of(keras.Sequential([Unregistered(name="own")])), r"'own' \(Unregistered\)"),
        (lambda: model_of(Subclassed()), "Subclassed: Could not locate class 'Subclassed'"),
        (lambda: model_of(keras.layers.Lambda(lambda x: 2 * x, name="own")), r"'own' \(Lambda\): .*is a Python lambda"),
        (lambda: model_of(keras.layers.Lambda(double, name="own")), r"'own' \(Lambda\): Could not locate .*'double'"),
        (lambda: model_of(keras.layers.Dense(2, activation=double, name="own")), r"'own' \(Dense\): .*'double'"),
        (lambda: model_of(keras.layers.Dense(2, kernel_regularizer=double, name="own")), r"'own' \(Dense\): .*double"),
        (lambda: model_of(keras.layers.TimeDistributed(Unregistered(), name="own")), r"'own' \(TimeDistributed\)"),
        (lambda: model_of(Incomplete(3.0, name="own")), r"'own' \(Incomplete\): .*missing 1 required .*'factor'"),
        (lambda: model_of(NotJson(name="own")), r"'own' \(NotJson\): Cannot serialize object \{1, 2\}"),
    ],
)
def test_check_serializable_raises(make: Callable[[], keras.Model], received: str) -> None:
    with pytest.raises(ValueError, match=rf"Every part of 'net' must .*Received: {received}.*Decorate"):
        check_serializable(make())


def test_check_serializable_without_weights_raises(tmp_path: Any) -> None:
    model = model_of(called(BuiltByCall(name="own")))
    message = r"Received: 'own' \(BuiltByCall\), which has 0 of its 2 weights when .*in its method build\(\)"
    with pytest.raises(ValueError, match=message):
        check_serializable(model)
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="objects could not be loaded"):
        keras.saving.load_model(tmp_path / "model.keras")


def test_check_serializable_subclassed_model_raises() -> None:
    model = Subclassed()
    model(keras.ops.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match="Subclassed: Could not locate class"):
        check_serializable(model)


def test_check_serializable_creates_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(keras.layers.Conv2D(4, 3), keras.Sequential([keras.layers.Dense(5)]), Scale())

    def no_weights(*_: object, **__: object) -> None:
        pytest.fail("a weight was created")

    monkeypatch.setattr(keras.layers.Layer, "add_weight", no_weights)
    check_serializable(model)


def test_check_serializable_agrees_with_loading(tmp_path: Any) -> None:
    model_of(Unregistered()).save(tmp_path / "model.keras")
    with pytest.raises(TypeError, match="Could not locate class 'Unregistered'"):
        keras.saving.load_model(tmp_path / "model.keras")
