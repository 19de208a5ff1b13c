"""Random variations of training images, as one Keras layer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from transferkit._checks import check_choice, check_fraction, check_int

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AugmentationBlock"]

FLIPS = (None, "horizontal", "vertical", "horizontal_and_vertical")
FILLS = ("reflect", "constant", "wrap", "nearest")
_VALUE_RANGE = (0, 255)


@keras.saving.register_keras_serializable(package="transferkit")
class AugmentationBlock(keras.layers.Layer):
    """Flips, turns, shifts and recolours images at random while training; leaves them alone otherwise.

    The variations are Keras' own preprocessing layers, applied in the order of the arguments. Images are RGB
    in [0, 255], so the block stands before the backbone's preprocessing.

    Args:
        flip: None, "horizontal", "vertical" or "horizontal_and_vertical"; each with probability one half.
        rotation: largest turn either way, as a fraction of a full circle in [0, 1]: 0.2 turns by up to 72 degrees.
        zoom: largest zoom in or out, as a fraction of the size in [0, 1].
        translation: largest shift in each direction, as a fraction of the size in [0, 1].
        brightness: largest change of brightness, as a fraction of the value range in [0, 1].
        contrast: largest change of contrast, in [0, 1].
        saturation: strength of the change of saturation, in [0, 1].
        hue: strength of the change of hue, in [0, 1].
        fill_mode: what fills the corners that turning and shifting leave: "reflect", "constant" (black),
            "wrap" or "nearest".
        seed: integer of at least 0; the same seed gives the same draws.
        name: name of the layer.

    Raises:
        ValueError: when an argument is out of its range.

    Example:

    >>> import numpy as np
    >>> block = AugmentationBlock(flip="horizontal", rotation=0.2)
    >>> images = np.zeros((2, 32, 32, 3), "float32")
    >>> block(images, training=True).shape
    TensorShape([2, 32, 32, 3])

    Reference: https://keras.io/api/layers/preprocessing_layers/image_augmentation/
    """

    def __init__(
        self,
        *,
        flip: str | None = "horizontal",
        rotation: float = 0.0,
        zoom: float = 0.0,
        translation: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        fill_mode: str = "reflect",
        seed: int = 0,
        name: str | None = "augmentation",
        **kwargs: Any,
    ) -> None:
        # Draws are made in float32 whatever the precision of training: bfloat16 has no room for 256 grey levels.
        kwargs["dtype"] = "float32"
        super().__init__(name=name, **kwargs)
        self.flip = check_choice("flip", flip, FLIPS)
        self.rotation = check_fraction("rotation", rotation)
        self.zoom = check_fraction("zoom", zoom)
        self.translation = check_fraction("translation", translation)
        self.brightness = check_fraction("brightness", brightness)
        self.contrast = check_fraction("contrast", contrast)
        self.saturation = check_fraction("saturation", saturation)
        self.hue = check_fraction("hue", hue)
        self.fill_mode = check_choice("fill_mode", fill_mode, FILLS)
        self.seed = check_int("seed", seed, minimum=0)
        self.variations = [make() for make in self._recipe()]
        self.supports_masking = True

    def _recipe(self) -> list[Callable[[], keras.layers.Layer]]:
        layers = keras.layers
        # Each layer draws from a seed of its own: with a common one, every flip would come with the same turn.
        seeds = iter(range(self.seed * 101, self.seed * 101 + 101))
        common = {"fill_mode": self.fill_mode}
        table: list[tuple[Any, Callable[[], keras.layers.Layer]]] = [
            (self.flip, lambda: layers.RandomFlip(self.flip, seed=next(seeds), dtype="float32")),
            (
                self.rotation,
                lambda: layers.RandomRotation(self.rotation, **common, seed=next(seeds), dtype="float32"),
            ),
            (self.zoom, lambda: layers.RandomZoom(self.zoom, **common, seed=next(seeds), dtype="float32")),
            (
                self.translation,
                lambda: layers.RandomTranslation(
                    self.translation, self.translation, **common, seed=next(seeds), dtype="float32"
                ),
            ),
            (
                self.brightness,
                lambda: layers.RandomBrightness(self.brightness, _VALUE_RANGE, seed=next(seeds), dtype="float32"),
            ),
            (
                self.contrast,
                lambda: layers.RandomContrast(self.contrast, _VALUE_RANGE, seed=next(seeds), dtype="float32"),
            ),
            (
                self.saturation,
                # Keras reads 0.5 as "unchanged", so the strength spreads to both sides of it.
                lambda: layers.RandomSaturation(
                    (0.5 - self.saturation / 2, 0.5 + self.saturation / 2),
                    _VALUE_RANGE,
                    seed=next(seeds),
                    dtype="float32",
                ),
            ),
            (self.hue, lambda: layers.RandomHue(self.hue, _VALUE_RANGE, seed=next(seeds), dtype="float32")),
        ]
        return [make for strength, make in table if strength]

    def build(self, input_shape: Any) -> None:
        """Nothing is to be built: the variations have no weights."""
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Vary a batch (n, height, width, 3) of RGB images in [0, 255] if `training`, else return it as it is."""
        if not training:
            return images
        for layer in self.variations:
            images = layer(images, training=True)
        return images

    def draw(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return one variation of one image; it depends on nothing but the arguments.

        Training by way of stored features asks for draws by number, in any order and from several processes;
        so a draw is a function of its seed, where `call` goes on from the state of a generator.

        Args:
            image: float32 (height, width, 3), RGB in [0, 255].
            seed: integer (2,).

        Returns:
            float32 (height, width, 3).
        """
        images = tf.cast(image, "float32")[None]
        for index, layer in enumerate(self.variations):
            transformation = layer.get_random_transformation(images, training=True, seed=_Seed(seed, index))
            images = layer.transform_images(images, transformation, training=True)
        return tf.ensure_shape(images[0], image.shape)

    def show(self, image: Any, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw nine variants of one image in a 3 x 3 grid.

        Args:
            image: (height, width, 3) array, RGB in [0, 255], or the path of a file.
            path: where to save the picture, or None.

        Returns:
            The matplotlib figure.
        """
        from transferkit.data.decode import read_image
        from transferkit.evaluation.plots import image_grid

        if isinstance(image, (str, bytes, os.PathLike)):
            image = read_image(image)
        pixels = tf.convert_to_tensor(np.asarray(image), dtype="float32")
        variants = [self.draw(pixels, tf.constant([self.seed, number])).numpy() for number in range(9)]
        return image_grid(np.stack(variants), [f"variant {number + 1}" for number in range(9)], path=path)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape does not change."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, so that `from_config` makes an equal block."""
        names = ("flip", "rotation", "zoom", "translation", "brightness", "contrast", "saturation", "hue")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "fill_mode": self.fill_mode,
            "seed": self.seed,
        }


class _Seed(keras.random.SeedGenerator):
    """A seed generator without state: its numbers follow from a tensor, as a draw inside tf.data needs."""

    def __init__(self, seed: tf.Tensor, layer: int) -> None:
        self._seed = tf.cast(seed, "int32")
        # Far enough apart that no two layers of a block meet in the second number.
        self._offset = layer * 64

    def next(self, ordered: bool = True) -> tf.Tensor:
        first, second = self._seed[0], self._seed[1]
        # Spread the second number, so that neighbouring draws do not share the numbers of their layers.
        value = tf.stack([first, second * 1024 + self._offset])
        self._offset += 1
        return value
