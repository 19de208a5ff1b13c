"""Reduced precision: which layers compute in it, and for how long."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.modeling import precision
from transferkit.modeling.precision import (
    check_precision,
    mixed_precision_layers,
    precision_scope,
    with_loss_scaling,
)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_gpu", lambda: True)


def policies(layers: list[keras.layers.Layer]) -> set[str]:
    return {layer.dtype_policy.name for layer in layers}


def test_mixed_precision_layers_are_matmuls_below_logits() -> None:
    model = small_classifier(tk.AugmentationBlock(rotation=0.1), hidden=(8,))
    layers = mixed_precision_layers(model)
    names = [layer.name for layer in layers]
    assert names[:3] == ["block0_conv", "block1_conv", "block2_conv"]
    assert len(names) == 4 and "logits" not in names
    with precision_scope("bfloat16", layers):
        assert {layer.compute_dtype for layer in layers} == {"bfloat16"}
        assert model(np.zeros((2, 32, 32, 3), "float32")).dtype == "float32"


@pytest.mark.usefixtures("gpu")
def test_mixed_precision_layers_on_gpu_are_all_between() -> None:
    names = [layer.name for layer in mixed_precision_layers(small_classifier(tk.AugmentationBlock(rotation=0.1)))]
    assert names[:3] == ["block0_conv", "block0_bn", "block0_relu"]
    assert "logits" not in names and not any("augmentation" in name or "resc" in name for name in names)


def test_mixed_precision_layers_without_matmul_is_empty() -> None:
    images = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    assert mixed_precision_layers(keras.Model(images, pooled)) == []
    assert mixed_precision_layers(keras.Model(images, keras.layers.Dense(1)(pooled))) == []


def test_mixed_precision_layers_keep_other_policies() -> None:
    images = keras.Input((8,))
    hidden = keras.layers.Dense(4, dtype="mixed_bfloat16", name="reduced")(images)
    hidden = keras.layers.Dense(4, name="plain")(hidden)
    model = keras.Model(images, keras.layers.Dense(1)(hidden))
    assert [layer.name for layer in mixed_precision_layers(model)] == ["plain"]


def test_precision_scope_after_error_is_float32() -> None:
    layers = mixed_precision_layers(small_classifier())
    with pytest.raises(KeyError), precision_scope("bfloat16", layers):
        assert policies(layers) == {"mixed_bfloat16"}
        assert {variable.dtype for layer in layers for variable in layer.weights} == {"float32"}
        raise KeyError
    assert policies(layers) == {"float32"}
    with precision_scope("float32", layers):
        assert policies(layers) == {"float32"}


def test_check_precision_float16_without_gpu_raises() -> None:
    with pytest.raises(ValueError) as error:
        check_precision("float16")
    assert str(error.value) == (
        "`precision` must be 'float32' or 'bfloat16' on a machine without a GPU. Received: 'float16'. "
        "Choose 'bfloat16', or use a GPU."
    )


@pytest.mark.usefixtures("gpu")
def test_check_precision_float16_with_gpu() -> None:
    assert check_precision("float16") == "float16"


def test_check_precision_unknown_raises() -> None:
    with pytest.raises(ValueError, match="must be one of 'float32', 'bfloat16', 'float16'. Received: 'bfloat61'"):
        check_precision("bfloat61")


def test_with_loss_scaling_for_float16_only() -> None:
    adam = keras.optimizers.Adam(1e-3)
    assert with_loss_scaling(adam, "float32") is with_loss_scaling(adam, "bfloat16") is adam
    scaled = with_loss_scaling(adam, "float16")
    assert isinstance(scaled, keras.optimizers.LossScaleOptimizer) and scaled.inner_optimizer is adam
