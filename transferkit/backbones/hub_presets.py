"""Backbones of KerasHub presets: by name, by address of a model hub, from a folder, or from an object."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any

import keras

from transferkit.backbones.backbone import Backbone, get_preprocessing
from transferkit.backbones.hub_catalogue import check_preset_name
from transferkit.backbones.hub_model import HubModel, check_tower, import_keras_hub
from transferkit.backbones.hub_sizes import with_image_shape
from transferkit.backbones.preprocessing import rescaling_mode
from transferkit.backbones.spec import BackboneSpec
from transferkit.errors import WeightsError
from transferkit.images.spec import ImageSpec

HUB = "hub:"
_ADDRESSES = ("hf://", "kaggle://", "modelscope://", "gs://")
_CONFIG = "config.json"
_DEFAULT_SIZE = 224
# Parts of models of images and text that contain the images' part, with the layer that follows the pooling.
_TOWERS = ("vision_encoder", "image_encoder")
_LAST, _PROJECTION = "vision_post_layer_norm", "vision_projection"


@dataclasses.dataclass(frozen=True)
class HubSource:
    """A KerasHub backbone with its image converter.

    Attributes:
        name: str, as given to `create`.
        backbone: keras_hub.models.Backbone.
        converter: keras_hub.layers.ImageConverter or None.
        is_preset: whether both were read from a preset.
    """

    name: str
    backbone: Any
    converter: Any
    is_preset: bool = False


def is_hub_object(value: Any) -> bool:
    """Return whether a value is a backbone or an image classifier of KerasHub, without importing it."""
    models = getattr(sys.modules.get("keras_hub"), "models", None)
    return models is not None and isinstance(value, (models.Backbone, models.ImageClassifier))


def is_hub_name(name: Any) -> bool:
    """Return whether a name is that of a preset: "hub:...", an address of a model hub, or a preset's folder."""
    if not isinstance(name, (str, os.PathLike)):
        return False
    text = os.fspath(name)
    return text.startswith((HUB, *_ADDRESSES)) or bool(text and Path(text, _CONFIG).is_file())


def object_source(value: Any) -> HubSource:
    """Return the source of a backbone or an image classifier of KerasHub."""
    backbone = getattr(value, "backbone", value)
    converter = getattr(getattr(value, "preprocessor", None), "image_converter", None)
    return HubSource(backbone.name, backbone, converter)


def preset_source(name: str | os.PathLike[str], *, load_weights: bool) -> HubSource:
    """Return the source of a preset, downloaded where it is not in the cache of its hub.

    Raises:
        MissingExtraError: if KerasHub is not installed.
        ValueError: if there is no such preset.
        WeightsError: if the preset cannot be loaded.
    """
    hub = import_keras_hub(f"The backbone {os.fspath(name)!r}")
    preset = os.fspath(name)
    if preset.startswith(HUB):
        preset = preset.removeprefix(HUB)
        check_preset_name(preset)
    try:
        backbone = hub.models.Backbone.from_preset(preset, load_weights=load_weights)
        return HubSource(os.fspath(name), backbone, _converter(hub, preset), is_preset=True)
    except Exception as error:  # KerasHub, the hubs' clients and h5py raise errors of many kinds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WeightsError(
            f"The preset {os.fspath(name)!r} could not be loaded. Received: {reason} Check the name and the network, "
            "or give the path of the preset's folder, as `save_to_preset` of KerasHub writes it."
        ) from error


def build_hub_backbone(
    source: HubSource,
    *,
    input_shape: Any = None,
    preprocessing: Any = None,
    features: str = "auto",
    projection: bool = False,
) -> Backbone:
    """Return the backbone of a source; see `BackboneFactory.create`.

    With `projection`, its features are those that a model of images and text compares with the features of text.
    """
    tower, last = _image_part(source.backbone)
    if projection and hasattr(source.backbone, _PROJECTION):
        last = [layer for layer in (last, getattr(source.backbone, _PROJECTION)) if layer is not None]
    check_tower(tower)
    own = _own_shape(tower, source.converter)
    shape = own if input_shape is None else _checked_shape(input_shape, own)
    known = tuple(tower.inputs[0].shape[1:])
    if None not in known and known != shape:
        tower = with_image_shape(tower, shape)
    model = HubModel(tower, shape, features, last, name=re.sub(r"\W+", "_", Path(source.name).name).strip("_"))
    layer, mode = _preprocessing(source, preprocessing)
    spec = BackboneSpec(
        name=source.name,
        family=_family(source.backbone),
        parameters=model.count_params(),
        features=model.output_shape[-1],
        default_size=own[0],
        preprocessing=mode,
        output=model.features_kind,
        source="KerasHub",
    )
    return Backbone(source.name, model, layer, spec=spec, image_spec=_image_spec(source.converter, shape))


def _family(backbone: Any) -> str:
    return type(backbone).__name__.removesuffix("Backbone")


def _image_part(backbone: Any) -> tuple[Any, Any]:
    """Return the backbone of the images alone, and the layer applied to its features, or None."""
    for name in _TOWERS:
        tower = getattr(backbone, name, None)
        if isinstance(tower, keras.Model):
            return tower, getattr(backbone, _LAST, None)
    return backbone, None


def _converter(hub: Any, preset: str) -> Any:
    try:
        return hub.layers.ImageConverter.from_preset(preset)
    except (FileNotFoundError, ValueError):
        return None


def _own_shape(tower: Any, converter: Any) -> tuple[int, int, int]:
    """Return the shape of the images of a preset: that of its model, else of its image converter."""
    height, width = tower.inputs[0].shape[1:3]
    size = getattr(converter, "image_size", None) or (_DEFAULT_SIZE, _DEFAULT_SIZE)
    return height or size[0], width or size[1], 3


def _checked_shape(shape: Any, own: tuple[int, int, int]) -> tuple[int, int, int]:
    is_shape = isinstance(shape, (tuple, list)) and len(shape) == 3 and shape[-1] == 3
    if not is_shape or not all(isinstance(side, int) and side > 0 for side in shape):
        raise ValueError(f"`input_shape` must be (height, width, 3). Received: {shape!r}. Pass {own}, for example.")
    return tuple(shape)  # type: ignore[return-value]


def _preprocessing(source: HubSource, given: Any) -> tuple[Any, str]:
    """Return the preprocessing, of the image converter or as given, and its name for the spec."""
    converter = source.converter
    if converter is None and given is None and source.is_preset:
        raise ValueError(
            f"`preprocessing` must be given for {source.name!r}, a preset without an image converter. Received: None. "
            "Give the mode of its model card, such as preprocessing='torch'."
        )
    if converter is None:
        return get_preprocessing(given), given if isinstance(given, str) else "none" if given is None else "own"
    if given is not None:
        raise ValueError(
            f"`preprocessing` is not supported for {source.name!r}. Received: {given!r}. It has its own image "
            "converter; omit the argument."
        )
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    mode = rescaling_mode(scale, offset)
    if mode == "none":
        return get_preprocessing(None), mode
    return keras.layers.Rescaling(scale, offset, name="preprocessing"), mode


def _image_spec(converter: Any, shape: tuple[int, int, int]) -> ImageSpec | None:
    """Return how the image converter resizes, for images of `shape`."""
    if converter is None:
        return None
    resize = "crop" if converter.crop_to_aspect_ratio else "pad" if converter.pad_to_aspect_ratio else "stretch"
    return ImageSpec(shape[:2], resize, converter.interpolation, bool(converter.antialias))
