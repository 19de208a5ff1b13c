"""Backbones of timm with weights from a file of PyTorch, by KerasHub's converters and without PyTorch."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from transferkit._utils.checks import did_you_mean
from transferkit._utils.extras import import_extra
from transferkit.backbones.hub_model import import_keras_hub
from transferkit.backbones.hub_presets import HubSource
from transferkit.backbones.torch_checkpoint import load_torch_tensors
from transferkit.errors import WeightsError

TIMM = "timm:"
_LOADER = "keras_hub.src.utils.timm.preset_loader"
# Parts of timm models that a backbone does not have: classifiers, the layers before them, and counters.
_HEADS = ("fc.", "classifier.", "head.", "conv_head.", "norm_head.", "pre_logits.", "head_fc.")
_COUNTER = "num_batches_tracked"
# KerasHub pads strided layers of these on other sides than timm: the features differ by a tenth of the largest.
_INEXACT = "densenet"


def is_timm_name(name: Any) -> TypeGuard[str]:
    """Return whether a name is "timm:" and an architecture."""
    return isinstance(name, str) and name.startswith(TIMM)


def timm_source(name: str, weights: Path | None) -> HubSource:
    """Return the source of an architecture of timm, with weights of a file or random ones.

    Raises:
        MissingExtraError: if KerasHub, or safetensors for such a file, is not installed.
        ValueError: if KerasHub has no converter for the architecture.
        WeightsError: if the file does not have exactly the tensors of the architecture.
    """
    import_keras_hub(f"The backbone {name!r}")
    config = {"architecture": name.removeprefix(TIMM)}
    if weights is not None and config["architecture"].startswith(_INEXACT):
        raise ValueError(
            f"`name` must be an architecture that KerasHub computes as timm does. Received: {name!r}, whose features "
            "differ, because strided layers are padded on other sides. Use 'DenseNet121' of the catalogue."
        )
    converter, options = _converter(name, config)
    backbone = converter.backbone_cls(**options)
    if weights is not None:
        tensors = _Tensors(_read(weights), name, weights)
        # Some converters print a line for each layer.
        with contextlib.redirect_stdout(io.StringIO()):
            converter.convert_weights(backbone, tensors, config)
        tensors.check_all_used()
    return HubSource(name, backbone, None, is_preset=True)


def _converter(name: str, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return KerasHub's module of converters, and the arguments of the backbone."""
    loader = importlib.import_module(_LOADER)
    try:
        converter = loader.TimmPresetLoader("", config).converter
        return converter, converter.convert_backbone_config(config)
    except (ValueError, KeyError) as error:
        suggestion = did_you_mean(config["architecture"], _EXAMPLES)
        raise ValueError(
            f"`name` must be 'timm:' and an architecture that KerasHub converts. Received: {name!r}. "
            f"{suggestion or 'Examples are ' + ', '.join(_EXAMPLES) + '.'}"
        ) from error


_EXAMPLES = ("resnet18", "resnet50", "efficientnet_b0", "mobilenetv3_large_100", "hgnetv2_b0", "vgg16", "cspresnet50")


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix != ".safetensors":
        return load_torch_tensors(path)
    library = import_extra("safetensors.numpy", "A .safetensors file", "safetensors", "hub")
    try:
        return dict(library.load_file(path))
    except Exception as error:  # The library has its own exception type, which it does not export for NumPy
        received = f"{os.fspath(path)!r} ({error})"
        raise WeightsError(f"A .safetensors file must be readable. Received: {received}. Replace it.") from error


class _Tensors:
    """The tensors of a file with the methods that KerasHub's converters call; nothing is left out silently.

    Args:
        tensors: by name.
        architecture: name of the backbone, for errors.
        path: of the file, for errors.
    """

    def __init__(self, tensors: dict[str, np.ndarray], architecture: str, path: Path) -> None:
        self._tensors, self._used = tensors, set[str]()
        self._received = f"{os.fspath(path)!r} for {architecture!r}"

    def get_tensor(self, name: str) -> np.ndarray:
        """Return a tensor.

        Raises:
            WeightsError: if the file does not have it.
        """
        if name not in self._tensors:
            raise WeightsError(
                f"The weights file must have every tensor of the architecture. Received: {self._received} without "
                f"{name!r}. Check that both are the same architecture."
            )
        self._used.add(name)
        return self._tensors[name]

    def port_weight(self, keras_variable: Any, hf_weight_key: str, hook_fn: Callable[..., Any] | None = None) -> None:
        """Assign a tensor to a variable of Keras, by names of arguments that the converters use.

        Raises:
            WeightsError: if the shapes differ.
        """
        tensor, shape = self.get_tensor(hf_weight_key), tuple(keras_variable.shape)
        values = tensor if hook_fn is None else hook_fn(tensor, list(shape))
        if values.size == 1 and not shape:
            # A scalar of Keras is a vector with one element in PyTorch.
            values = values.reshape(())
        if tuple(values.shape) != shape:
            raise WeightsError(
                f"The weights file must have tensors of the shapes of the architecture. Received: {self._received} "
                f"with {hf_weight_key!r} of the shape {tensor.shape}. Check that both are the same architecture."
            )
        keras_variable.assign(values)

    def check_all_used(self) -> None:
        """Raise a WeightsError for tensors that the backbone did not take, other than those of a classifier."""
        left = set(self._tensors) - self._used
        left = {name for name in left if not name.startswith(_HEADS) and not name.endswith(_COUNTER)}
        if left:
            raise WeightsError(
                f"The weights file must not have tensors that the architecture lacks. Received: {self._received} with "
                f"{min(left)!r} and {len(left) - 1} others. Check that both are the same architecture."
            )
