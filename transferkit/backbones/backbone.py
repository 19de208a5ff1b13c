"""A pretrained network without its top, with the preprocessing that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from transferkit._utils.checks import check_choice
from transferkit.backbones.pooling import global_pooling
from transferkit.backbones.preprocessing import Preprocessing
from transferkit.backbones.spec import BackboneSpec
from transferkit.data.examples import Split
from transferkit.features.extraction import extract_features
from transferkit.images.loading import ImageSpec
from transferkit.modeling.freezing import freeze, unfreeze

POOLINGS = ("avg", "max", None)


class Backbone:
    """A network from RGB images in [0, 255] to features, frozen until it is unfrozen.

    Made by `BackboneFactory.create`. Calling it applies its preprocessing and then its network, so that nobody can
    feed it the wrong scale.

    Attributes:
        name: as in the catalogue, or as registered.
        model: keras.Model, the network alone; layer numbers and names count in its `layers`.
        preprocessing: what is applied before it.
        spec: the row of the catalogue, or None for the user's own.
        input_shape: (height, width, 3).
    """

    def __init__(self, name: str, model: keras.Model, preprocessing: Any, *, spec: BackboneSpec | None = None) -> None:
        self.name = name
        self.model = model
        self.preprocessing = preprocessing
        self.spec = spec
        self.input_shape = tuple(model.input_shape[1:])
        freeze(model)

    def __call__(self, images: Any) -> Any:
        """Return the features of RGB images (batch, height, width, 3) in [0, 255], tensors or Keras tensors."""
        return self.model(self.preprocessing(images))

    def freeze(self) -> None:
        """Train nothing of the backbone. A model that holds it must be compiled again."""
        freeze(self.model)

    def unfreeze(
        self,
        from_layer: int | str | None = None,
        *,
        fraction: float | None = None,
        blocks: int | None = None,
        batch_norm: bool = False,
    ) -> None:
        """Train the upper layers; see `transferkit.modeling.freezing.unfreeze`. Compile the model again after it."""
        unfreeze(self.model, from_layer, fraction=fraction, blocks=blocks, batch_norm=batch_norm)

    def extractor(self, *, layer: str | Sequence[str] | None = None, pooling: str | None = "avg") -> keras.Model:
        """Return a keras.Model from RGB images in [0, 255] to features.

        Args:
            layer: name of a layer of `model` whose output is wanted, or several; by default the last.
            pooling: "avg", "max" or None (feature maps as they are).

        Raises:
            ValueError: when there is no such layer.
        """
        check_choice("pooling", pooling, POOLINGS)
        images = keras.Input(self.input_shape, name="image")
        network = self.model if layer is None else self._up_to([layer] if isinstance(layer, str) else list(layer))
        outputs = network(self.preprocessing(images))
        tensors = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return keras.Model(images, [_pooled(tensor, pooling) for tensor in tensors], name=f"{self.name}_features")

    def features(
        self,
        images: Any,
        *,
        layer: str | Sequence[str] | None = None,
        pooling: str | None = "avg",
        pixels: ImageSpec | None = None,
        batch_size: int | None = None,
        engine: str = "auto",
        precision: str = "float32",
    ) -> Any:
        """Return the features of images, in the order given.

        Args:
            images: list of paths, one path, an array (n, height, width, 3) of RGB in [0, 255] in the input size, or
                a `Split` of a data set.
            layer: name of a layer of `model`, or several; by default the last.
            pooling: "avg", "max" or None (feature maps as they are).
            pixels: how files become images; by default stretched to the input size.
            batch_size: images run together; by default what suits the machine.
            engine: "auto" or a name that `transferkit.engines` knows.
            precision: "float32", or "bfloat16" for a faster run with features off by 1e-3 to 1e-2 of the
                largest in the mean (docs/speed.md has what that does to accuracy).

        Returns:
            float32 (n, features), or (n, height, width, features) without pooling; a list of such with several layers.

        Raises:
            ImageError: for the first file that cannot be read.
        """
        source = self._source(images, pixels or ImageSpec(self.input_shape[:2]))
        model = self.extractor(layer=layer, pooling=pooling)
        arrays = extract_features(source, model, engine=engine, precision=precision, batch_size=batch_size)
        result = [np.asarray(array) for array in arrays]
        return result[0] if layer is None or isinstance(layer, str) else result

    def _source(self, images: Any, pixels: ImageSpec) -> Split:
        if isinstance(images, Split):
            return images
        if isinstance(images, np.ndarray) or hasattr(images, "numpy"):
            array = np.asarray(images)
            if array.ndim != 4 or array.shape[1:] != self.input_shape:
                raise ValueError(
                    f"`images` must be an array of shape (n, {', '.join(map(str, self.input_shape))}). Received: shape "
                    f"{array.shape}. Resize the images, or give their paths."
                )
            return Split("images", np.zeros(len(array), np.int32), pixels, images=array)
        paths = [images] if isinstance(images, str) or hasattr(images, "__fspath__") else list(images)
        return Split("images", np.zeros(len(paths), np.int32), pixels, paths=tuple(str(path) for path in paths))

    def _up_to(self, names: list[str]) -> keras.Model:
        known = [layer.name for layer in self.model.layers]
        for name in names:
            check_choice("layer", name, known)
        return keras.Model(self.model.inputs, [self.model.get_layer(name).output for name in names])

    def __repr__(self) -> str:
        return f"Backbone({self.name!r}, input_shape={self.input_shape}, output_shape={self.model.output_shape})"


def _pooled(tensor: Any, pooling: str | None) -> Any:
    rank = len(tensor.shape)
    return tensor if pooling is None or rank not in (3, 4) else global_pooling(pooling, rank)(tensor)


def get_preprocessing(value: Any) -> Any:
    """Return the preprocessing that a mode, a Keras layer or a function of tensors means."""
    return Preprocessing("none") if value is None else Preprocessing(value) if isinstance(value, str) else value
