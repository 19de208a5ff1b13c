"""A pretrained model without its classification layers, with its preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_number
from transferkit.backbones.feature_check import check_difference, match_layout, read_array, relative_difference
from transferkit.backbones.preprocessing import Preprocessing
from transferkit.backbones.spec import BackboneSpec
from transferkit.data.examples import Split
from transferkit.data.inputs import to_split
from transferkit.engines.selection import ENGINES
from transferkit.features.extraction import ExtractionOptions, extract_features
from transferkit.head import global_pooling
from transferkit.images.spec import ImageSpec
from transferkit.modeling.freezing import freeze, unfreeze

POOLINGS = ("avg", "max", None)


@suggests_arguments
class Backbone:
    """A model from RGB images in [0, 255] to features, which applies its preprocessing first; frozen at first.

    Create it with `BackboneFactory.create`.

    Attributes:
        name: str, the name in the catalogue or the registry.
        model: keras.Model without the preprocessing. Layer indices and names refer to its `layers`.
        preprocessing: the layer or function applied before the model.
        spec: the `BackboneSpec` of the catalogue, or None for a custom model.
        input_shape: (height, width, 3) in pixels.
        image_spec: `ImageSpec` with the resizing of the published model, or None where it is not known.

    Example:

    >>> from transferkit.backbones import BackboneFactory
    >>> backbone = BackboneFactory.create("MobileNetV2", input_shape=(32, 32, 3), weights=None, alpha=0.35)
    >>> backbone(np.zeros((1, 32, 32, 3))).shape
    TensorShape([1, 1, 1, 1280])
    """

    def __init__(
        self,
        name: str,
        model: keras.Model,
        preprocessing: Any,
        *,
        spec: BackboneSpec | None = None,
        image_spec: ImageSpec | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.preprocessing = preprocessing
        self.spec = spec
        self.input_shape: tuple[int, ...] = tuple(model.input_shape[1:])
        self.image_spec = image_spec
        freeze(model)

    def __call__(self, images: Any) -> Any:
        """Return the features of RGB images (batch, height, width, 3) in [0, 255], arrays or Keras tensors."""
        return self.model(self.preprocessing(images))

    def freeze(self) -> None:
        """Freeze all layers. Compile the models that contain the backbone again."""
        freeze(self.model)

    def unfreeze(
        self,
        from_layer: int | str | None = None,
        *,
        fraction: float | None = None,
        blocks: int | None = None,
        batch_norm: bool = False,
    ) -> None:
        """Make the upper layers trainable, all of them by default. Compile the models that contain the backbone again.

        Args:
            from_layer: int or str, index (a negative one counts from the end) or name of the first trainable layer.
                Defaults to None.
            fraction: float in [0, 1], fraction of the layers to train, from the top. Defaults to None.
            blocks: int >= 1, number of blocks to train, from the top. Defaults to None.
            batch_norm: bool, whether to train batch normalization, statistics included. Defaults to False.

        Raises:
            ValueError: if several of the first three are given, or there is no such layer or block.
        """
        unfreeze(self.model, from_layer, fraction=fraction, blocks=blocks, batch_norm=batch_norm)

    def feature_extractor(
        self, *, layer: str | Sequence[str] | None = None, pooling: str | None = "avg"
    ) -> keras.Model:
        """Return a keras.Model from RGB images in [0, 255] to features.

        Args:
            layer: str, name of a layer of `model`, or several names. Defaults to None, the last layer.
            pooling: "avg", "max" or None (feature maps). Defaults to "avg".

        Returns:
            A keras.Model with one output per layer.

        Raises:
            ValueError: if there is no such layer or pooling.
        """
        check_choice("pooling", pooling, POOLINGS)
        images = keras.Input(self.input_shape, name="image")
        model = self.model if layer is None else self._truncated_at([layer] if isinstance(layer, str) else list(layer))
        outputs = model(self.preprocessing(images))
        tensors = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        # The name of a preset, such as a path, may have characters that names of models must not have.
        return keras.Model(images, [_pool(tensor, pooling) for tensor in tensors], name=f"{self.model.name}_features")

    def features(
        self,
        images: Any,
        *,
        layer: str | Sequence[str] | None = None,
        pooling: str | None = "avg",
        image_spec: ImageSpec | None = None,
        batch_size: int | None = None,
        engine: str = "auto",
        precision: str = "float32",
    ) -> Any:
        """Return the features of images, in the given order.

        Args:
            images: anything that `Predictor.predict` accepts: paths, a folder, a pattern, arrays of RGB images in
                [0, 255], Pillow images, lists of these, or a split such as data.train, in the order of data.files.
            layer: str, name of a layer of `model`, or several names. Defaults to None, the last layer.
            pooling: "avg", "max" or None (feature maps). Defaults to "avg".
            image_spec: `ImageSpec`, how images are decoded and resized; not for a split. Defaults to None, that of
                the backbone, or stretched to the input size.
            batch_size: int >= 1. Defaults to None, selected for the machine.
            engine: "auto", "keras", "frozen_graph" or "openvino". Defaults to "auto", the fastest one.
            precision: "float32", "float16" (GPUs only) or "bfloat16", which is faster and changes features by 1e-3 to
                1e-2 of the largest. Defaults to "float32".

        Returns:
            float32 array (n, features), or (n, height, width, features) without pooling; a list of arrays for several
            layers.

        Raises:
            ImageError: for the first file that cannot be read.
            ValueError: if an argument is out of its range.
        """
        check_choice("engine", engine, ENGINES)
        split = self._to_split(images, image_spec)
        model = self.feature_extractor(layer=layer, pooling=pooling)
        options = ExtractionOptions(engine=engine, precision=precision, batch_size=batch_size)
        result = [np.asarray(array) for array in extract_features(split, model, options)]
        return result[0] if layer is None or isinstance(layer, str) else result

    def check_features(self, images: Any, expected: Any, *, tolerance: float = 1e-4) -> float:
        """Compare the features, before pooling, with those of the model from which the weights were converted.

        Args:
            images: RGB images in [0, 255] of the size of `input_shape`, an array (n, height, width, 3) or the path of a
                .npy file, before any preprocessing.
            expected: features of the original model for these images, an array or the path of a .npy file; feature maps
                with the channels last or, as in PyTorch, before height and width.
            tolerance: float >= 0. Largest allowed difference, as a fraction of the largest expected feature. Defaults
                to 0.0001.

        Returns:
            The largest difference as a fraction of the largest expected feature.

        Raises:
            ValueError: if the arrays do not have matching shapes.
            WeightsError: if the difference is larger than `tolerance`.

        Example:

        >>> from transferkit.backbones import BackboneFactory
        >>> backbone = BackboneFactory.create("MobileNetV2", input_shape=(32, 32, 3), weights=None, alpha=0.35)
        >>> images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
        >>> backbone.check_features(images, np.asarray(backbone(images)))
        0.0
        """
        check_number("tolerance", tolerance, minimum=0)
        images = read_array("images", images)
        if images.shape[1:] != self.input_shape:
            raise ValueError(
                f"`images` must have the shape (n, {', '.join(map(str, self.input_shape))}). Received: {images.shape}. "
                "Create the backbone with their size as `input_shape`."
            )
        actual = np.asarray(self(images), np.float32)
        difference = relative_difference(actual, match_layout(read_array("expected", expected), actual.shape))
        check_difference(difference, tolerance, self.name)
        return difference

    def _to_split(self, images: Any, image_spec: ImageSpec | None) -> Split:
        # Datasets of a split, such as data.train, have it as an attribute.
        if image_spec is not None and isinstance(getattr(images, "split", images), Split):
            received = f"images of type {type(images).__name__}"
            raise ValueError(f"`image_spec` is not supported for a split. Received: {received}. Omit it.")
        height, width, *_ = self.input_shape
        return to_split(images, image_spec or self.image_spec or ImageSpec((height, width)))

    def _truncated_at(self, names: list[str]) -> keras.Model:
        known = [layer.name for layer in self.model.layers]
        for name in names:
            check_choice("layer", name, known)
        return keras.Model(self.model.inputs, [self.model.get_layer(name).output for name in names])

    def __repr__(self) -> str:
        return f"Backbone({self.name!r}, input_shape={self.input_shape}, output_shape={self.model.output_shape})"


def _pool(tensor: Any, pooling: str | None) -> Any:
    rank = len(tensor.shape)
    return tensor if pooling is None or rank not in (3, 4) else global_pooling(pooling, rank)(tensor)


def get_preprocessing(value: Any) -> Any:
    """Return the preprocessing of a mode, a Keras layer or a function of tensors; None means "none"."""
    return Preprocessing("none") if value is None else Preprocessing(value) if isinstance(value, str) else value
