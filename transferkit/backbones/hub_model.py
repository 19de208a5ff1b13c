"""The image part of a KerasHub backbone as one functional model, which can be cut between its blocks."""

from __future__ import annotations

from typing import Any

import keras

from transferkit._utils.checks import check_choice
from transferkit._utils.extras import import_extra
from transferkit.modeling.composite import call_opened
from transferkit.modeling.keras_graph import call_graph, is_functional
from transferkit.modeling.token_grid import find_token_grid

FEATURES = ("auto", "class_token", "patch_tokens")
# What a configuration contains to restore layers that have weights in the file already.
_BUILD_KEYS = ("build_config", "compile_config")


@keras.saving.register_keras_serializable(package="transferkit")
class HubModel(keras.Model):
    """A functional model from preprocessed images to the features of a KerasHub backbone, with the same weights.

    Encoders that only call a list of blocks are replaced by these, so that blocks are layers of this model. Its
    configuration is that of the KerasHub backbone: the layers of KerasHub cannot be restored from their own.

    Args:
        tower: keras_hub.models.Backbone with one input, of images.
        input_shape: (height, width, 3) in pixels.
        features: "class_token", "patch_tokens" (a feature map) or "auto": the class token where there is one.
        last: keras.layers.Layer applied to the features, or several in their order. Defaults to None.
        name: str. Defaults to the name of the tower.

    Attributes:
        features_kind: str, "feature map", "class token", "patch tokens" or "pooled vector".

    Raises:
        ValueError: if the tower has another input than images, or no such features.
    """

    def __init__(
        self, tower: Any, input_shape: Any, features: str = "auto", last: Any = None, name: str | None = None
    ) -> None:
        check_choice("features", features, FEATURES)
        check_tower(tower)
        images = keras.Input(input_shape, name="images")
        # In this form the weights of the layers are those of the file, and no code is in it.
        config = {"tower": _serialized(tower), "input_shape": list(input_shape), "features": features}
        config["last"] = None if last is None else _serialized(last)
        output, kind = _select(call_graph(tower, images, call_opened), input_shape, features)
        for layer in _as_layers(last):
            output = layer(output)
        super().__init__(inputs=images, outputs=output, name=name or tower.name)
        self.features_kind = kind
        self._source = config

    def get_config(self) -> dict[str, Any]:
        """Return the configuration of the KerasHub backbone and the arguments."""
        return {"name": self.name, "trainable": self.trainable, **self._source}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> HubModel:
        """Return the model of a configuration, with random weights.

        Raises:
            MissingExtraError: if KerasHub is not installed.
        """
        import_keras_hub("This classifier")
        config = dict(config)
        trainable = config.pop("trainable", True)
        for key in ("tower", "last"):
            if config[key] is not None:
                config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects)
        model = cls(**config)
        model.trainable = trainable
        return model


def import_keras_hub(feature: str) -> Any:
    """Return the package `keras_hub`, which `feature` requires; raise a MissingExtraError without it."""
    return import_extra("keras_hub", feature, "keras-hub", "hub")


def check_tower(tower: Any) -> None:
    """Raise a ValueError unless a KerasHub backbone has a graph of layers from one input, of images."""
    if not is_functional(tower):
        raise ValueError(
            f"A KerasHub backbone must have a graph of layers. Received: {tower.name!r} ({type(tower).__name__}), "
            "without. Wrap it: keras.Model(images, backbone(images))."
        )
    shapes = [tuple(tensor.shape) for tensor in tower.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(
            f"A KerasHub backbone must take images alone. Received: {tower.name!r} ({type(tower).__name__}) with "
            f"inputs of the shapes {shapes}. Use a vision backbone, such as 'hub:dinov2_base'."
        )


def _as_layers(last: Any) -> list[Any]:
    return [] if last is None else list(last) if isinstance(last, (list, tuple)) else [last]


def _serialized(layer: Any) -> Any:
    return _without_build(keras.saving.serialize_keras_object(layer))


def _without_build(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_build(value) for key, value in config.items() if key not in _BUILD_KEYS}
    return [_without_build(value) for value in config] if isinstance(config, (list, tuple)) else config


def _select(outputs: Any, input_shape: Any, features: str) -> tuple[Any, str]:
    """Return the tensor of the features in the outputs of a tower, and its kind."""
    if isinstance(outputs, dict):
        # Levels of a pyramid, the deepest last.
        outputs = outputs.get("sequence_output", list(outputs.values())[-1])
    rank = len(outputs.shape)
    if rank == 3:
        return _select_tokens(outputs, input_shape, features)
    if features != "auto":
        raise ValueError(
            f"`features` must be 'auto' for a model without tokens. Received: {features!r}, and the output has the "
            f"shape {tuple(outputs.shape)}. Omit it."
        )
    return outputs, "pooled vector" if rank == 2 else "feature map"


def _select_tokens(tokens: Any, input_shape: Any, features: str) -> tuple[Any, str]:
    grid = find_token_grid(tokens.shape[1], *input_shape[:2]) if tokens.shape[1] else None
    if features == "class_token" and (grid is None or not grid.prefix):
        raise ValueError(
            f"`features` must be 'auto' or 'patch_tokens' for a model without a class token. Received: {features!r}."
        )
    if features != "patch_tokens" and grid is not None and grid.prefix:
        return tokens[:, 0], "class token"
    if grid is None:
        return tokens, "patch tokens"
    patches = tokens[:, grid.prefix :] if grid.prefix else tokens
    return keras.layers.Reshape((grid.rows, grid.columns, tokens.shape[-1]), name="patch_map")(patches), "patch tokens"
