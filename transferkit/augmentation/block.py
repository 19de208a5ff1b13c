"""Random variations of training images, as one Keras layer."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from transferkit._utils.checks import check_choice, check_fraction, check_int
from transferkit.augmentation.affine import affine_transform_batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLIPS = (None, "horizontal", "vertical", "horizontal_and_vertical")
FILL_MODES = ("reflect", "constant", "wrap", "nearest")
# Random numbers that one variation takes: two flips, angle, zoom, two shifts, brightness, contrast, saturation, hue.
_NUM_RANDOM_VALUES = 10


@keras.saving.register_keras_serializable(package="transferkit")
class AugmentationBlock(keras.layers.Layer):
    """Flips, turns, shifts and recolours images at random while training; leaves them alone otherwise.

    Flip, turn, zoom and shift are one affine transformation, so that an image is resampled once; then follow the
    colours. Images are RGB in [0, 255], so the block stands before the backbone's preprocessing.

    Args:
        flip: None, "horizontal", "vertical" or "horizontal_and_vertical"; each with probability one half.
        rotation: largest turn either way, as a fraction of a full circle in [0, 1]: 0.2 turns by up to 72 degrees.
        zoom: largest zoom in or out, as a fraction of the size in [0, 1].
        translation: largest shift in each direction, as a fraction of the size in [0, 1].
        brightness: largest change of brightness, as a fraction of the value range in [0, 1].
        contrast: largest change of the distance from the mean colour, as a fraction in [0, 1].
        saturation: largest change of the saturation, as a fraction in [0, 1].
        hue: largest turn of the hue either way, as a fraction of the colour circle in [0, 1].
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

    Reference: Shorten and Khoshgoftaar, "A survey on Image Data Augmentation for Deep Learning", 2019.
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
        self.fill_mode = check_choice("fill_mode", fill_mode, FILL_MODES)
        self.seed = check_int("seed", seed, minimum=0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Nothing is to be built: the block has no weights."""
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Vary a batch (n, height, width, 3) of RGB images in [0, 255] if `training`, else return it as it is."""
        if not training:
            return images
        random_values = keras.random.uniform((keras.ops.shape(images)[0], _NUM_RANDOM_VALUES), seed=self.seed_generator)
        return self._augment(images, random_values)

    def draw(self, images: Any, seeds: Any) -> Any:
        """Return one variation of each image; an image's variation depends on nothing but the image and its seed.

        Training by way of stored features asks for draws by number, in any order and from several processes;
        so a draw is a function of its seed, where `call` goes on from the state of a generator.

        Args:
            images: (n, height, width, 3), RGB in [0, 255].
            seeds: integers (n, 2), of at least 0.

        Returns:
            float32 (n, height, width, 3).
        """
        images = np.asarray(images)
        random_values = np.stack(
            [np.random.default_rng(seed).random(_NUM_RANDOM_VALUES, np.float32) for seed in np.asarray(seeds)]
        )
        if self._has_geometry():
            # Of a few images NumPy works out the matrices in a tenth of TensorFlow's time.
            height, width = images.shape[1:3]
            images = affine_transform_batch(
                images, self._matrices(random_values, height, width, ops=np), self.fill_mode
            )
        images = images.astype(np.float32, copy=False)
        if self._has_color():
            images = np.asarray(self._adjust_color(images, keras.ops.convert_to_tensor(random_values)))
        return images

    def _augment(self, images: Any, random_values: Any) -> Any:
        images = keras.ops.cast(images, "float32")
        if self._has_geometry():
            height, width = keras.ops.shape(images)[1:3]
            matrices = self._matrices(
                random_values, keras.ops.cast(height, "float32"), keras.ops.cast(width, "float32")
            )
            images = keras.ops.image.affine_transform(images, matrices, fill_mode=self.fill_mode)
        return self._adjust_color(images, random_values) if self._has_color() else images

    def _has_geometry(self) -> bool:
        return bool(self.flip or self.rotation or self.zoom or self.translation)

    def _has_color(self) -> bool:
        return bool(self.brightness or self.contrast or self.saturation or self.hue)

    def _matrices(self, random_values: Any, height: Any, width: Any, ops: Any = keras.ops) -> Any:
        """Return (n, 8), which pixel of the given image each pixel of the varied one shows.

        A point of the picture, seen from its middle, is mirrored, turned, scaled and shifted, in this order.
        """
        mirror_x = self._random_sign(random_values[:, 0], "horizontal", ops)
        mirror_y = self._random_sign(random_values[:, 1], "vertical", ops)
        angle = self._symmetric(random_values[:, 2], self.rotation) * (2 * math.pi)
        scale = 1 + self._symmetric(random_values[:, 3], self.zoom)
        right, down = (self._symmetric(random_values[:, column], self.translation) for column in (4, 5))
        cosine, sine = scale * ops.cos(angle), scale * ops.sin(angle)
        xx, xy, yx, yy = cosine * mirror_x, -sine * mirror_y, sine * mirror_x, cosine * mirror_y
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        x = middle_x - xx * middle_x - xy * middle_y + right * width
        y = middle_y - yx * middle_x - yy * middle_y + down * height
        return ops.stack([xx, xy, x, yx, yy, y, ops.zeros_like(x), ops.zeros_like(x)], axis=1)

    def _adjust_color(self, images: Any, random_values: Any) -> Any:
        ops = keras.ops
        brightness, contrast, saturation, hue = (random_values[:, column, None, None, None] for column in range(6, 10))
        if self.brightness:
            images = images + 255 * self._symmetric(brightness, self.brightness)
        if self.contrast:
            mean = ops.mean(images, axis=(1, 2), keepdims=True)
            images = mean + (images - mean) * (1 + self._symmetric(contrast, self.contrast))
        if self.saturation or self.hue:
            hsv = ops.image.rgb_to_hsv(ops.clip(images, 0, 255) / 255)
            turned = (hsv[..., :1] + self._symmetric(hue, self.hue)) % 1.0
            washed = ops.clip(hsv[..., 1:2] * (1 + self._symmetric(saturation, self.saturation)), 0, 1)
            images = 255 * ops.image.hsv_to_rgb(ops.concatenate([turned, washed, hsv[..., 2:]], axis=-1))
        return ops.clip(images, 0, 255) if self.brightness or self.contrast else images

    def _random_sign(self, random_values: Any, direction: str, ops: Any) -> Any:
        if direction not in (self.flip or ""):
            return ops.ones_like(random_values)
        return ops.where(random_values < 0.5, -1.0, 1.0)

    @staticmethod
    def _symmetric(random_values: Any, strength: float) -> Any:
        """Spread numbers in [0, 1) over [-strength, strength)."""
        return (2 * random_values - 1) * strength

    def show(self, image: Any, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw nine variants of one image in a 3 x 3 grid.

        Args:
            image: (height, width, 3) array, RGB in [0, 255], or the path of a file.
            path: where to save the picture, or None.

        Returns:
            The matplotlib figure.
        """
        from transferkit.images.pillow_decoder import read_image
        from transferkit.plots import image_grid

        if isinstance(image, (str, bytes, os.PathLike)):
            image = read_image(image)
        copies = np.repeat(np.asarray(image, "float32")[None], 9, axis=0)
        variants = np.asarray(self.draw(copies, [(self.seed, number) for number in range(9)]))
        return image_grid(variants, [f"variant {number + 1}" for number in range(9)], path=path)

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
