"""Backbones by name: every model of keras.applications, EfficientNetLite0, and the user's own."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import keras

from transferkit._utils.checks import check_int, did_you_mean
from transferkit.backbones.applications import build_application, list_applications
from transferkit.backbones.backbone import Backbone, get_preprocessing
from transferkit.backbones.catalogue import Catalogue
from transferkit.backbones.efficientnet_lite import build_efficientnet_lite0, load_efficientnet_lite0
from transferkit.backbones.spec import BackboneSpec
from transferkit.backbones.table import ROWS
from transferkit.backbones.weights import load_weights_file, resolve_weights_file

if TYPE_CHECKING:
    from transferkit.prediction import Predictor

# A model that a newer Keras adds has no row here; its preprocessing is that of its family's module, by this range.
_UNKNOWN_MIN_SIZE = 32


@dataclasses.dataclass(frozen=True)
class _RegistryEntry:
    name: str
    build: Callable[..., keras.Model] | keras.Model
    preprocessing: Any
    spec: BackboneSpec | None


class BackboneFactory:
    """Makes backbones, and lists them. There is nothing to instantiate; call its methods on the class.

    Example:

    >>> BackboneFactory.catalogue().filter(max_parameters=4e6)[0].name
    'MobileNetV2'
    >>> backbone = BackboneFactory.create("mobilenet_v2", input_shape=(96, 96, 3), weights=None)
    >>> backbone.model.output_shape
    (None, 3, 3, 1280)
    """

    _registered: ClassVar[dict[str, _RegistryEntry]] = {}

    @classmethod
    def create(
        cls,
        name: str | keras.Model,
        *,
        input_shape: tuple[int, int, int] | None = None,
        weights: Any = "imagenet",
        preprocessing: Any = None,
        sha256: str | None = None,
        weights_folder: Any = None,
        **options: Any,
    ) -> Backbone:
        """Create a backbone: without its top, frozen, with its own preprocessing.

        Args:
            name: as in the catalogue, whatever the case and punctuation; a registered name; or a keras.Model with one
                image input.
            input_shape: (height, width, 3) in pixels; by default the size that the model was trained on.
            weights: "imagenet" (from Keras' cache or downloaded), None (random), the path of a .h5, .weights.h5 or
                .keras file, or an address together with `sha256`.
            preprocessing: only for a keras.Model: None, "tf", "torch", "caffe", a Keras layer, or a function of
                tensors; it is applied to RGB in [0, 255].
            sha256: of the weights file.
            weights_folder: where to look for weights given by a file's name; by default $TRANSFERKIT_WEIGHTS.
            options: as Keras takes them (`alpha=0.35`).

        Returns:
            A `Backbone`.

        Raises:
            ValueError: for an unknown name or an input shape that the model cannot take.
            WeightsError: when the weights cannot be had or do not fit.
        """
        if isinstance(name, keras.Model):
            return _from_model(name, input_shape, preprocessing, options)
        found = cls._registered.get(_normalize_name(name))
        if found is not None:
            return _from_registry(found, input_shape, weights, options)
        spec = cls.spec(name)
        shape = _checked_shape(input_shape, spec)
        if spec.name == "EfficientNetLite0":
            network = _build_lite(shape, weights, sha256, weights_folder, include_top=False, **options)
        else:
            network = build_application(spec.name, shape, weights, sha256=sha256, folder=weights_folder, **options)
        return Backbone(spec.name, network, get_preprocessing(spec.preprocessing), spec=spec)

    @classmethod
    def classifier(
        cls, name: str, *, weights: Any = "imagenet", sha256: str | None = None, **options: Any
    ) -> Predictor:
        """Return a pretrained model as it is, a `Predictor` over the 1000 ImageNet classes.

        Args:
            name: as in the catalogue.
            weights: as in `create`; a file must hold the weights with the top.
            sha256: of the weights file.
            options: as Keras takes them.

        Example:

        >>> BackboneFactory.classifier("MobileNetV2").predict("cat.jpg").top(3)  # doctest: +SKIP
        [('tabby', 0.61), ('tiger_cat', 0.24), ('Egyptian_cat', 0.09)]
        """
        from transferkit.backbones.imagenet import imagenet_predictor

        spec = cls.spec(name)
        shape = (spec.default_size, spec.default_size, 3)
        if spec.name == "EfficientNetLite0":
            network = _build_lite(shape, weights, sha256, None, include_top=True, **options)
        else:
            network = build_application(spec.name, shape, weights, include_top=True, sha256=sha256, **options)
        return imagenet_predictor(network, spec)

    @classmethod
    def register(
        cls,
        name: str,
        build: Callable[..., keras.Model] | keras.Model,
        *,
        preprocessing: Any = None,
        spec: BackboneSpec | None = None,
    ) -> None:
        """Add a backbone of one's own under a name; a name registered before is replaced.

        Args:
            name: what `create` will know it by.
            build: called as build(input_shape=..., weights=..., **options) and giving a keras.Model, weights loaded;
                or such a model.
            preprocessing: as in `create`.
            spec: a row for the catalogue, or None.

        Raises:
            ValueError: when the name is that of a built-in backbone.
        """
        if not callable(build):
            raise TypeError(f"`build` must be a function, class or keras.Model. Received: {type(build).__name__}.")
        if _normalize_name(name) in {_normalize_name(row.name) for row in ROWS}:
            raise ValueError(f"`name` must not be that of a built-in backbone. Received: {name!r}. Choose another.")
        cls._registered[_normalize_name(name)] = _RegistryEntry(name, build, get_preprocessing(preprocessing), spec)

    @classmethod
    def catalogue(cls) -> Catalogue:
        """Return the table of all backbones, the registered ones with a row included, sorted by name."""
        own = [entry.spec for entry in cls._registered.values() if entry.spec is not None]
        return Catalogue([*ROWS, *own]).sorted("name")

    @classmethod
    def spec(cls, name: str) -> BackboneSpec:
        """Return the catalogue's row of a built-in backbone, found whatever the case and punctuation.

        Raises:
            ValueError: for an unknown name; it names the nearest.
        """
        rows = {_normalize_name(row.name): row for row in ROWS}
        known = {
            **{_normalize_name(key): key for key in list_applications()},
            **{key: row.name for key, row in rows.items()},
        }
        folded = _normalize_name(name)
        if folded in rows:
            return rows[folded]
        if folded in known:
            return _infer_spec(known[folded])
        names = sorted([*known.values(), *(entry.name for entry in cls._registered.values())])
        raise ValueError(
            f"`name` must be a backbone of the catalogue or a registered one. Received: {name!r}. "
            f"{did_you_mean(name, names) or 'BackboneFactory.catalogue() lists them.'}"
        )


def _normalize_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).casefold())


def _checked_shape(shape: Any, spec: BackboneSpec) -> tuple[int, int, int]:
    if shape is None:
        return spec.default_size, spec.default_size, 3
    if not isinstance(shape, (tuple, list)) or len(shape) != 3 or shape[-1] != 3:
        raise ValueError(
            f"`input_shape` must be (height, width, 3): the images are RGB. Received: {shape!r}. Give "
            f"({spec.default_size}, {spec.default_size}, 3), for instance."
        )
    hint = f"{spec.name} takes images of at least {spec.min_size} x {spec.min_size}."
    height, width = (check_int("input_shape", side, minimum=spec.min_size, hint=hint) for side in shape[:2])
    return height, width, 3


def _build_lite(
    shape: tuple[int, int, int], weights: Any, sha256: str | None, folder: Any, *, include_top: bool
) -> keras.Model:
    model = build_efficientnet_lite0(shape, include_top=include_top)
    if weights == "imagenet":
        load_efficientnet_lite0(model)
    elif weights is not None:
        path = resolve_weights_file(weights, sha256=sha256, folder=folder)
        if path.suffix == ".pth":
            load_efficientnet_lite0(model, path)
        else:
            load_weights_file(model, path)
    return model


def _from_model(model: keras.Model, input_shape: Any, preprocessing: Any, options: dict[str, Any]) -> Backbone:
    if options:
        raise ValueError(f"A keras.Model must come as it is, without options. Received: {sorted(options)}.")
    return Backbone(model.name, _validated_model(model, input_shape), get_preprocessing(preprocessing))


def _from_registry(entry: _RegistryEntry, input_shape: Any, weights: Any, options: dict[str, Any]) -> Backbone:
    model = entry.build
    if not isinstance(model, keras.Model):
        size = entry.spec.default_size if entry.spec is not None else 224
        model = entry.build(input_shape=input_shape or (size, size, 3), weights=weights, **options)
    return Backbone(entry.name, _validated_model(model, input_shape), entry.preprocessing, spec=entry.spec)


def _validated_model(model: Any, input_shape: Any) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise TypeError(f"A backbone must be a keras.Model. Received: {type(model).__name__}.")
    shape = tuple(input_shape) if input_shape is not None else _infer_input_shape(model)
    if (
        not isinstance(model, keras.Sequential)
        and type(model).call is not keras.Model.call
        and not _is_functional(model)
    ):
        # A subclassed model gets an input here, so that its layers' shapes are known and it can be composed.
        images = keras.Input(shape)
        return keras.Model(images, model(images), name=model.name)
    if tuple(model.input_shape[1:]) != shape:
        raise ValueError(f"`input_shape` must be that of the model, {model.input_shape[1:]}. Received: {shape}.")
    return model


def _infer_input_shape(model: keras.Model) -> tuple[int, ...]:
    try:
        shape = model.input_shape
    except AttributeError:
        shape = None
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 3:
        raise ValueError(
            f"A backbone must have one input of shape (height, width, 3). Received: {shape}. "
            "Give input_shape=(height, width, 3) for a model that is not built yet."
        )
    return shape[1:]


def _is_functional(model: keras.Model) -> bool:
    return bool(getattr(model, "inputs", None))


def _infer_spec(name: str) -> BackboneSpec:
    """Return a row for a model that this version of Keras has and the table has not, as far as it can be told."""
    build = getattr(keras.applications, name)
    module = sys.modules[build.__module__]
    black, white = (
        float(module.preprocess_input([[[[value] * 3]]], "channels_last")[0][0][0][0]) for value in (0.0, 255.0)
    )
    mode = {(-1.0, 1.0): "tf", (0.0, 255.0): "none"}.get((round(black, 3), round(white, 3)))
    if mode is None:
        mode = "caffe" if white > 2.7 else "torch"
    features = build(weights=None, include_top=False, input_shape=(224, 224, 3)).output_shape[-1]
    return BackboneSpec(
        name,
        name,
        0,
        features,
        None,
        None,
        None,
        None,
        224,
        _UNKNOWN_MIN_SIZE,
        mode,
        "see Keras",
        "",
        "keras.applications",
    )
