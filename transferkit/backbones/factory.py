"""Backbones by name: models of keras.applications, EfficientNet-Lite, presets of KerasHub and registered ones."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_int, did_you_mean
from transferkit.backbones import registry
from transferkit.backbones.applications import application_options, build_application, list_applications
from transferkit.backbones.backbone import Backbone, get_preprocessing
from transferkit.backbones.catalogue import Catalogue
from transferkit.backbones.custom import validated_model
from transferkit.backbones.efficientnet_lite import VARIANTS, build_efficientnet_lite, load_efficientnet_lite
from transferkit.backbones.hub_catalogue import hub_catalogue
from transferkit.backbones.hub_presets import (
    build_hub_backbone,
    is_hub_name,
    is_hub_object,
    object_source,
    preset_source,
)
from transferkit.backbones.imagenet import imagenet_predictor
from transferkit.backbones.registry import RegistryEntry, normalize_name
from transferkit.backbones.spec import BackboneSpec
from transferkit.backbones.table import ROWS
from transferkit.backbones.timm_weights import is_timm_name, timm_source
from transferkit.backbones.weights import load_weights_file, resolve_weights
from transferkit.modeling.image_model import check_channels_last
from transferkit.prediction import Predictor

_CREATE_ARGUMENTS = ("input_shape", "weights", "preprocessing", "sha256", "weights_folder")
SOURCES = ("keras", "hub")


class _Default(str):
    """A default value, distinguishable from the same value given by the user."""


_IMAGENET = _Default("imagenet")


@suggests_arguments
class BackboneFactory:
    """Creates, lists and registers backbones. Call the methods on the class; it has no instances.

    Example:

    >>> BackboneFactory.catalogue().filter(max_parameters=4e6)[0].name
    'MobileNetV2'
    >>> backbone = BackboneFactory.create("mobilenet_v2", input_shape=(96, 96, 3), weights=None)
    >>> backbone.model.output_shape
    (None, 3, 3, 1280)
    """

    @classmethod
    def create(
        cls,
        name: str | os.PathLike[str] | keras.Model,
        *,
        input_shape: tuple[int, int, int] | None = None,
        weights: Any = _IMAGENET,
        preprocessing: Any = None,
        sha256: str | None = None,
        weights_folder: Any = None,
        **options: Any,
    ) -> Backbone:
        """Create a frozen backbone without classification layers, with its preprocessing.

        Presets of KerasHub have the preprocessing of their image converter. Their output is the feature map of a
        convolutional network, the class token of a transformer, its patch tokens as a map where it has none, or the
        vector that the image part of a model of images and text returns (`backbone.spec.output`).

        Args:
            name: str, a name of the catalogue (case and punctuation are ignored) or a registered name; a preset of
                KerasHub (extra `hub`): "hub:dinov2_base", "hf://timm/resnet18.a1_in1k" or the path of a preset's
                folder; "timm:resnet18", an architecture of timm, with `weights` from a file of PyTorch (extra `hub`); a
                keras.Model with one image input, which is used unchanged; or a Backbone or ImageClassifier
                object of KerasHub.
            input_shape: (height, width, 3) in pixels. Position embeddings of a preset are interpolated. Defaults to the
                size the model was trained on.
            weights: "imagenet" (from Keras' cache, else downloaded), None (random), the path of a .h5, .weights.h5 or
                .keras file, or a URL together with `sha256`; for a preset, its own ones or None; for "timm:...", None
                or a state dict as .safetensors, .pth, .pt or .bin, which is read without PyTorch and without running
                code. Defaults to "imagenet".
            preprocessing: only for a keras.Model, or a preset without an image converter: "none", "tf", "torch",
                "caffe", "lite", a Keras layer, or a function of tensors, applied to RGB images in [0, 255]. Defaults
                to None, no preprocessing.
            sha256: str, hexadecimal SHA-256 of the weights file. Defaults to None, not verified.
            weights_folder: a folder to search for a weights file given by its name. Defaults to the environment
                variable TRANSFERKIT_WEIGHTS.
            **options: arguments of the model function, for example `alpha=0.35` for MobileNetV2. For a preset,
                `features`: "auto", "class_token" or "patch_tokens".

        Returns:
            A `Backbone`.

        Raises:
            MissingExtraError: if a preset is given and KerasHub is not installed.
            ValueError: if the name is unknown, the model does not support the input shape, or an argument cannot be
                honored, for example `preprocessing` for a built-in backbone or `weights` for a keras.Model.
            WeightsError: if the weights are not available or do not fit the model.
        """
        check_channels_last()
        files = {"sha256": sha256, "weights_folder": weights_folder}
        arguments = {"preprocessing": preprocessing, "input_shape": input_shape}
        if is_timm_name(name):
            _reject_unknown(options, ["features"], repr(name))
            return build_hub_backbone(timm_source(name, _timm_file(name, weights, files)), **arguments, **options)
        if is_hub_object(name) or is_hub_name(name):
            return _from_hub(name, weights, files, arguments, options)
        if isinstance(name, keras.Model):
            _reject({"weights": weights, **files, **options}, "a keras.Model", "The model is used unchanged.")
            return Backbone(name.name, validated_model(name, input_shape), get_preprocessing(preprocessing))
        name = os.fspath(name)
        entry = registry.lookup(name)
        if entry is not None:
            return _from_registry(entry, input_shape, weights, {"preprocessing": preprocessing, **files}, options)
        spec = cls.spec(name)
        hint = f"It has its own preprocessing, {spec.preprocessing!r}."
        _reject({"preprocessing": preprocessing}, f"the built-in backbone {spec.name!r}", hint)
        shape = _checked_shape(input_shape, spec)
        _check_options(spec, options, top=False)
        model = _build(spec, shape, resolve_weights(weights, sha256=sha256, folder=weights_folder), options)
        return Backbone(spec.name, model, get_preprocessing(spec.preprocessing), spec=spec)

    @classmethod
    def classifier(
        cls, name: str, *, weights: Any = "imagenet", sha256: str | None = None, **options: Any
    ) -> Predictor:
        """Return an original pretrained model as a `Predictor` over the 1000 ImageNet classes.

        Args:
            name: str, a name of the catalogue.
            weights: as in `create`; a file must contain the weights with the top. Defaults to "imagenet".
            sha256: str, hexadecimal SHA-256 of the weights file. Defaults to None, not verified.
            **options: arguments of the model function.

        Raises:
            ValueError: if the name is unknown, or an argument cannot be honored.
            WeightsError: if the weights are not available or do not fit the model.

        Example:

        >>> BackboneFactory.classifier("MobileNetV2").predict("cat.jpg").top(3)  # doctest: +SKIP
        [('tabby', 0.61), ('tiger_cat', 0.24), ('Egyptian_cat', 0.09)]
        """
        spec = cls.spec(name)
        _check_options(spec, options, top=True)
        weights = resolve_weights(weights, sha256=sha256)
        return imagenet_predictor(_build(spec, _checked_shape(None, spec), weights, options, top=True), spec)

    @classmethod
    def register(
        cls,
        name: str,
        build: Callable[..., keras.Model] | keras.Model,
        *,
        preprocessing: Any = None,
        spec: BackboneSpec | None = None,
    ) -> None:
        """Register a custom backbone, or replace the one registered under the same name.

        Args:
            name: str, the name for `create`.
            build: a function called as `build(input_shape=..., weights=..., **options)` that returns a keras.Model
                with its weights; or a keras.Model.
            preprocessing: as in `create`. Defaults to None, no preprocessing.
            spec: a `BackboneSpec`, the row of the catalogue. Defaults to None, no row.

        Raises:
            TypeError: if `build` is not callable.
            ValueError: if a built-in backbone has the name.

        Example:

        >>> BackboneFactory.register("small", lambda input_shape, weights: keras.Sequential(
        ...     [keras.Input(input_shape), keras.layers.Conv2D(8, 3)]), preprocessing="tf")
        >>> BackboneFactory.create("small", input_shape=(32, 32, 3)).model.output_shape
        (None, 30, 30, 8)
        >>> BackboneFactory.unregister("small")
        """
        if not callable(build):
            raise TypeError(f"`build` must be a function, class or keras.Model. Received: {type(build).__name__}.")
        if normalize_name(name) in _built_in_names():
            raise ValueError(f"`name` must not be that of a built-in backbone. Received: {name!r}. Choose another.")
        registry.register(RegistryEntry(name, build, get_preprocessing(preprocessing), spec))

    @classmethod
    def unregister(cls, name: str) -> None:
        """Remove a registered backbone.

        Args:
            name: str, as given to `register`; case and punctuation are ignored.

        Raises:
            ValueError: if there is no registered backbone of that name.
        """
        registry.unregister(name)

    @classmethod
    def catalogue(cls, *, source: str = "keras") -> Catalogue:
        """Return the rows of backbones, sorted by name; nothing is downloaded.

        Args:
            source: "keras", all built-in backbones and registered ones with a `spec`; or "hub", the image presets in
                the registry of the installed KerasHub (extra `hub`), whose names start with "hub:". Defaults to
                "keras".

        Raises:
            MissingExtraError: if `source` is "hub" and KerasHub is not installed.
            ValueError: if there is no such source.

        Example:

        >>> BackboneFactory.catalogue(source="hub").filter(family="DINOV2")[0].name  # doctest: +SKIP
        'hub:dinov2_base'
        """
        if check_choice("source", source, SOURCES) == "hub":
            return hub_catalogue()
        registered = [entry.spec for entry in registry.registered_entries() if entry.spec is not None]
        return Catalogue([*ROWS, *registered]).sorted("name")

    @classmethod
    def spec(cls, name: str) -> BackboneSpec:
        """Return the catalogue row of a built-in backbone.

        Args:
            name: str; case and punctuation are ignored.

        Raises:
            ValueError: if the name is unknown; the message suggests the closest names.
        """
        names = _built_in_names()
        found = names.get(normalize_name(name))
        if found is None:
            known = sorted([*names.values(), *(entry.name for entry in registry.registered_entries())])
            raise ValueError(
                f"`name` must be a backbone of the catalogue or a registered one. Received: {name!r}. "
                f"{did_you_mean(name, known) or 'BackboneFactory.catalogue() lists them.'}"
            )
        return next((row for row in ROWS if row.name == found), None) or _infer_spec(found)


def _built_in_names() -> dict[str, str]:
    return {normalize_name(name): name for name in [*list_applications(), *(row.name for row in ROWS)]}


def _reject(arguments: Mapping[str, Any], subject: str, hint: str) -> None:
    """Raise a ValueError if one of `arguments` is not its default."""
    for name, value in arguments.items():
        if value is not (_IMAGENET if name == "weights" else None):
            raise ValueError(f"`{name}` is not supported for {subject}. Received: {value!r}. {hint}")


def _reject_unknown(options: Mapping[str, Any], accepted: Sequence[str], subject: str) -> None:
    for name in options:
        if name not in accepted:
            hint = (
                did_you_mean(name, [*accepted, *_CREATE_ARGUMENTS])
                or f"Supported: {', '.join(accepted) or 'no options'}."
            )
            raise ValueError(f"`{name}` is not supported for {subject}. Received: {options[name]!r}. {hint}")


def _check_options(spec: BackboneSpec, options: Mapping[str, Any], *, top: bool) -> None:
    _reject_unknown(options, [] if spec.name in VARIANTS else application_options(spec.name, top=top), spec.name)


def _checked_shape(shape: Any, spec: BackboneSpec) -> tuple[int, int, int]:
    if shape is None:
        return spec.default_size, spec.default_size, 3
    if not isinstance(shape, (tuple, list)) or len(shape) != 3 or shape[-1] != 3:
        raise ValueError(
            f"`input_shape` must be (height, width, 3): the images are RGB. Received: {shape!r}. Pass "
            f"({spec.default_size}, {spec.default_size}, 3), for example."
        )
    hint = f"{spec.name} requires images of at least {spec.min_size} x {spec.min_size}."
    height, width = (check_int("input_shape", side, minimum=spec.min_size, hint=hint) for side in shape[:2])
    return height, width, 3


def _build(spec: BackboneSpec, shape: Any, weights: Any, options: dict[str, Any], *, top: bool = False) -> keras.Model:
    if spec.name in VARIANTS:
        return _build_lite(spec.name, shape, weights, top=top)
    return build_application(spec.name, shape, weights, include_top=top, **options)


def _build_lite(name: str, shape: Any, weights: Path | str | None, *, top: bool) -> keras.Model:
    model = build_efficientnet_lite(name, shape, include_top=top)
    if weights == "imagenet":
        load_efficientnet_lite(model, name)
    elif isinstance(weights, Path) and weights.suffix == ".pth":
        load_efficientnet_lite(model, name, weights)
    elif isinstance(weights, Path):
        load_weights_file(model, weights)
    return model


def _timm_file(name: Any, weights: Any, files: dict[str, Any]) -> Path | None:
    found = resolve_weights(weights, sha256=files["sha256"], folder=files["weights_folder"])
    if found == "imagenet":
        raise ValueError(
            f"`weights` must be a file or None for {name!r}. Received: 'imagenet'. For published weights, use "
            "'hf://timm/...'."
        )
    return None if found is None else Path(found)


def _from_hub(
    name: Any, weights: Any, files: dict[str, Any], arguments: dict[str, Any], options: dict[str, Any]
) -> Backbone:
    subject = f"the KerasHub model {getattr(name, 'name', name)!r}"
    _reject(files, subject, "Its weights are those of the preset.")
    _reject_unknown(options, ["features"], subject)
    if is_hub_object(name):
        _reject({"weights": weights}, subject, "The model is used unchanged.")
        return build_hub_backbone(object_source(name), **arguments, **options)
    if weights is not None and weights != "imagenet":
        raise ValueError(
            f"`weights` must be None (random) or omitted for {subject}. Received: {weights!r}. Omit it for the weights "
            "of the preset."
        )
    return build_hub_backbone(preset_source(name, load_weights=weights is not None), **arguments, **options)


def _from_registry(
    entry: RegistryEntry, input_shape: Any, weights: Any, unsupported: dict[str, Any], options: dict[str, Any]
) -> Backbone:
    model, subject = entry.build, f"the registered backbone {entry.name!r}"
    _reject(unsupported, subject, "Configure it in the registered model.")
    if isinstance(model, keras.Model):
        _reject({"weights": weights, **options}, subject, "The model is used unchanged.")
    else:
        parameters = inspect.signature(model).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            _reject_unknown(options, [name for name in parameters if name not in ("input_shape", "weights")], subject)
        size = 224 if entry.spec is None else entry.spec.default_size
        weights = "imagenet" if weights is _IMAGENET else weights
        model = model(input_shape=input_shape or (size, size, 3), weights=weights, **options)
    return Backbone(entry.name, validated_model(model, input_shape), entry.preprocessing, spec=entry.spec)


def _infer_spec(name: str) -> BackboneSpec:
    """Return the row of a model that is newer than the table, as far as Keras defines it."""
    build = getattr(keras.applications, name)
    module = sys.modules[build.__module__]
    black, white = (
        float(module.preprocess_input([[[[value] * 3]]], "channels_last")[0][0][0][0]) for value in (0.0, 255.0)
    )
    mode = {(-1.0, 1.0): "tf", (0.0, 255.0): "none"}.get((round(black, 3), round(white, 3)))
    features = build(weights=None, include_top=False, input_shape=(224, 224, 3)).output_shape[-1]
    values: dict[str, Any] = {"name": name, "family": name, "parameters": 0, "features": features}
    texts: dict[str, Any] = {"license": "see Keras", "source": "keras.applications"}
    return BackboneSpec(**values, **texts, preprocessing=mode or ("caffe" if white > 2.7 else "torch"))
