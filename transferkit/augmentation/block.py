"""Random augmentation of images, as one Keras layer."""

from __future__ import annotations

import inspect
import math
import os
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from transferkit._utils.arguments import check_keywords
from transferkit._utils.checks import check_choice, check_fraction, check_int, check_number
from transferkit.augmentation.affine import affine_transform
from transferkit.augmentation.color import change_saturation_and_hue
from transferkit.augmentation.degradation import gaussian_blur, jpeg
from transferkit.augmentation.erasing import NUM_ERASING_VALUES, erase
from transferkit.augmentation.geometry import centered, compose, policy_move, resized_crop, symmetric, to_matrices
from transferkit.augmentation.mixing import mix_pairs
from transferkit.augmentation.options import PRESETS, check_areas, check_quality
from transferkit.augmentation.policies import POLICIES, VALUES_PER_OPERATION, operations
from transferkit.images import read_image
from transferkit.plots import image_grid

FLIPS = (None, "horizontal", "vertical", "horizontal_and_vertical")
FILL_MODES = ("reflect", "constant", "wrap", "nearest")
# Two flips, angle, zoom, two shifts, brightness, contrast, saturation, hue.
_NUM_RANDOM_VALUES = 10
# Further columns, which only newer options need, so that blocks without them have the same random values as before.
_CROP, _BLUR, _JPEG, _ERASING = slice(10, 14), 14, 15, slice(16, 16 + NUM_ERASING_VALUES)
_POLICY = slice(_ERASING.stop, _ERASING.stop + 2 * VALUES_PER_OPERATION)
_NEWER_DEFAULTS: dict[str, Any] = {
    "random_resized_crop": None,
    "erasing": 0.0,
    "blur": 0.0,
    "jpeg_quality": None,
    "policy": None,
    "mixup": 0.0,
    "cutmix": 0.0,
}


@keras.saving.register_keras_serializable(package="transferkit")
class AugmentationBlock(keras.layers.Layer):
    """Augments images at random in training; returns them unchanged in inference.

    Flip, rotation, zoom, translation, random resized crop and the moves of a policy form one affine transformation, so
    that an image is resampled once; color changes, the policy's color operations, blur, JPEG compression and erasing
    follow. Images are RGB in [0, 255], so the layer precedes the preprocessing of the backbone.

    Args:
        flip: None, "horizontal", "vertical" or "horizontal_and_vertical"; each direction has a probability of 0.5.
            Defaults to "horizontal".
        rotation: float in [0, 1]. Largest angle in either direction, as a fraction of a full circle: 0.2 is 72
            degrees. Defaults to 0.
        zoom: float in [0, 1]. Largest zoom in or out, as a fraction of the size. Defaults to 0.
        translation: float in [0, 1]. Largest shift in each direction, as a fraction of the size. Defaults to 0.
        brightness: float in [0, 1]. Largest change, as a fraction of 255. Defaults to 0.
        contrast: float in [0, 1]. Largest relative change of the distance from the mean color. Defaults to 0.
        saturation: float in [0, 1]. Largest relative change. Defaults to 0.
        hue: float in [0, 1]. Largest change in either direction, as a fraction of the color circle. Defaults to 0.
        fill_mode: "reflect", "constant" (black), "wrap" or "nearest": how points outside the image are filled.
            Defaults to "reflect".
        random_resized_crop: (smallest, largest) area of a random part of the image, as fractions in (0, 1], which is
            enlarged to the size of the image; its ratio of sides changes by 3/4 to 4/3. Defaults to None, which is off.
        erasing: float in [0, 1]. Probability that a rectangle of 2 % to 33 % of the area gets one random color.
            Defaults to 0.
        blur: float >= 0. Largest standard deviation of a Gaussian blur, in pixels. Defaults to 0.
        jpeg_quality: int in [1, 100]. Lowest quality of JPEG compression; that of an image is random between it and
            100. Defaults to None, which is off.
        policy: None, "rand_augment" (two of 14 operations, magnitude 9 of 30) or "trivial_augment" (one operation,
            random magnitude in a wide range). Defaults to None.
        mixup: float >= 0. Parameter alpha of MixUp, which blends pairs of images and their labels; the shares of the
            two have the distribution Beta(alpha, alpha). 0.2 is common. Defaults to 0, which is off.
        cutmix: float >= 0. Parameter alpha of CutMix, which pastes a rectangle of one image into another and mixes
            their labels by area. 1 is common. With `mixup` too, each batch uses one of the two at random. Defaults to
            0, which is off.
        seed: int >= 0. Defaults to 0.
        name: str, the name of the layer. Defaults to "augmentation".

    Raises:
        ValueError: if an argument is out of its range.
        TypeError: for an unknown argument.

    Example:

    >>> block = AugmentationBlock(flip="horizontal", rotation=0.2)
    >>> images = np.zeros((2, 32, 32, 3), "float32")
    >>> block(images, training=True).shape
    TensorShape([2, 32, 32, 3])
    >>> block.augment(images, seeds=[(0, 1), (0, 2)]).shape
    (2, 32, 32, 3)

    References: Shorten and Khoshgoftaar, "A survey on Image Data Augmentation for Deep Learning", 2019; Szegedy et al.,
    "Going deeper with convolutions", 2014, arXiv:1409.4842 (random resized crop); Cubuk et al., "RandAugment", 2019,
    arXiv:1909.13719; Mueller and Hutter, "TrivialAugment", 2021, arXiv:2103.10158.
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
        random_resized_crop: tuple[float, float] | None = None,
        erasing: float = 0.0,
        blur: float = 0.0,
        jpeg_quality: int | None = None,
        policy: str | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        seed: int = 0,
        name: str | None = "augmentation",
        **kwargs: Any,
    ) -> None:
        # Always float32, under mixed precision too: bfloat16 cannot represent 256 gray levels.
        kwargs["dtype"] = "float32"
        accepted = [*inspect.signature(AugmentationBlock.__init__).parameters][1:-1]
        check_keywords("AugmentationBlock", kwargs, [*accepted, "trainable", "dtype"])
        super().__init__(name=name, **kwargs)
        self.flip = check_choice("flip", flip, FLIPS)
        self.rotation = check_fraction("rotation", rotation, hint="It is a fraction of a circle: 0.1 is 36 degrees.")
        self.zoom = check_fraction("zoom", zoom)
        self.translation = check_fraction("translation", translation)
        self.brightness, self.contrast = check_fraction("brightness", brightness), check_fraction("contrast", contrast)
        self.saturation, self.hue = check_fraction("saturation", saturation), check_fraction("hue", hue)
        self.fill_mode = check_choice("fill_mode", fill_mode, FILL_MODES)
        self.random_resized_crop = check_areas("random_resized_crop", random_resized_crop)
        self.erasing, self.blur = check_fraction("erasing", erasing), check_number("blur", blur, minimum=0)
        self.jpeg_quality = check_quality("jpeg_quality", jpeg_quality)
        self.policy = check_choice("policy", policy, POLICIES)
        self.mixup, self.cutmix = check_number("mixup", mixup, minimum=0), check_number("cutmix", cutmix, minimum=0)
        self.seed = check_int("seed", seed, minimum=0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True
        self._has_geometry = bool(flip or rotation or zoom or translation or random_resized_crop or policy)
        # TensorFlow's affine transformation has no XLA kernel; Keras then compiles no model with this layer.
        self.supports_jit = not self._has_geometry
        degrades = bool(blur or jpeg_quality or erasing)
        self._has_color = bool(brightness or contrast or saturation or hue or policy or degrades)
        newer = degrades or bool(random_resized_crop or policy)
        self._num_random_values = _POLICY.stop if newer else _NUM_RANDOM_VALUES

    @classmethod
    def preset(cls, name: str, *, seed: int = 0) -> AugmentationBlock:
        """Return a block of a common strength, which also works with cached features, because it does not mix images.

        - "none": the images are not changed.
        - "light": horizontal flip, zoom and translation up to 5 %.
        - "medium": horizontal flip, random resized crop of 70 % to 100 % of the area, rotation up to 10 degrees,
          brightness up to 10 %, contrast and saturation up to 20 %.
        - "strong": horizontal flip, random resized crop of 35 % to 100 %, RandAugment, erasing with a probability of
          25 %.

        Args:
            name: "none", "light", "medium" or "strong".
            seed: int >= 0. Defaults to 0.

        Raises:
            ValueError: for an unknown name.

        >>> AugmentationBlock.preset("light").zoom
        0.05
        """
        return cls(**PRESETS[check_choice("name", name, PRESETS)], seed=seed)

    def build(self, input_shape: Any) -> None:
        """Mark the layer as built, for any `input_shape`; it has no weights."""
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Return `images` (n, height, width, 3), RGB in [0, 255], augmented if `training`, else unchanged."""
        if not training:
            return images
        shape = keras.ops.shape(images)[0], self._num_random_values
        random_values = keras.random.uniform(shape, seed=self.seed_generator)
        return self._augment(images, random_values)

    def augment(self, images: Any, seeds: Any) -> Any:
        """Return one augmented view of each image, which depends only on the image and its seed, unlike with `call`.

        Args:
            images: array (n, height, width, 3), RGB in [0, 255].
            seeds: ints >= 0, (n, 2).

        Returns:
            float32 array (n, height, width, 3).
        """
        random_values = np.stack(
            [np.random.default_rng(seed).random(self._num_random_values, np.float32) for seed in np.asarray(seeds)]
        )
        return self._augment_eagerly(np.asarray(images), random_values)

    def test_view(self, images: Any, index: int, count: int) -> Any:
        """Return one of `count` augmented views for test-time augmentation: the same changes to each image.

        The strength of each change differs between the views, and is spread evenly over its range. With the original,
        half of the images of an even number are mirrored.

        Args:
            images: array (n, height, width, 3), RGB in [0, 255].
            index: int in [0, count), the view.
            count: int >= 1, number of views without the original.

        Returns:
            float32 array (n, height, width, 3).
        """
        orders = (np.random.default_rng((self.seed, column)) for column in range(self._num_random_values))
        strata = np.array([order.permutation(count)[index] for order in orders])
        # The first two values decide on mirroring, which has no middle.
        offsets = np.where(np.arange(self._num_random_values) < 2, 0.25, 0.5)
        values = ((strata + offsets) / count).astype(np.float32)
        return self._augment_eagerly(np.asarray(images), np.tile(values, (len(images), 1)))

    def _augment_eagerly(self, images: np.ndarray, random_values: np.ndarray) -> np.ndarray:
        if self._has_geometry:
            # For a few images NumPy computes the matrices in a tenth of TensorFlow's time.
            height, width = images.shape[1:3]
            images = affine_transform(images, self._matrices(random_values, (height, width), np), self.fill_mode)
        images = images.astype(np.float32, copy=False)
        if self._has_color:
            images = np.asarray(self._change_pixels(images, keras.ops.convert_to_tensor(random_values)))
        return images

    @property
    def mixes(self) -> bool:
        """Whether `mix_batch` mixes images: `mixup` or `cutmix` is above 0."""
        return bool(self.mixup or self.cutmix)

    def mix_batch(self, images: Any, labels: Any, sample_weight: Any = None) -> tuple[Any, ...]:
        """Return a batch of training images mixed in random pairs, with labels and sample weights in the same shares.

        The trainer calls it in each training step on images; `call` and `augment` do not mix.

        Args:
            images: (n, height, width, 3).
            labels: one-hot or soft labels (n, units).
            sample_weight: (n,). Defaults to None.

        Returns:
            (images, labels), or (images, labels, sample_weight) if there are weights; float32. Unchanged if `mixes` is
            False or the batch has one image.

        Raises:
            ValueError: if `labels` are not two-dimensional.

        Example:

        >>> block = AugmentationBlock(cutmix=1.0)
        >>> images, labels = block.mix_batch(np.zeros((4, 32, 32, 3)), np.eye(4))
        >>> labels.shape
        TensorShape([4, 4])

        References: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018, arXiv:1710.09412; Yun et al.,
        "CutMix", 2019, arXiv:1905.04899.
        """
        if len(labels.shape) != 2:
            raise ValueError(
                "`labels` must be one-hot or soft labels (n, units), because labels are mixed. Received: shape "
                f"{tuple(labels.shape)}. Apply keras.ops.one_hot to class indices."
            )
        batch = (images, labels) if sample_weight is None else (images, labels, sample_weight)
        return mix_pairs(batch, self.mixup, self.cutmix, self.seed_generator) if self.mixes else batch

    def _augment(self, images: Any, random_values: Any) -> Any:
        images = keras.ops.cast(images, "float32")
        if self._has_geometry:
            height, width = (keras.ops.cast(side, "float32") for side in keras.ops.shape(images)[1:3])
            matrices = self._matrices(random_values, (height, width), keras.ops)
            images = keras.ops.image.affine_transform(images, matrices, fill_mode=self.fill_mode)
        return self._change_pixels(images, random_values) if self._has_color else images

    def _matrices(self, random_values: Any, size: tuple[Any, Any], ops: Any) -> Any:
        """Return (n, 8), the transforms from output to input coordinates.

        Relative to the center of the image, a point is mirrored, rotated, scaled and shifted, in this order.
        """
        mirror_x = self._random_sign(random_values[:, 0], "horizontal", ops)
        mirror_y = self._random_sign(random_values[:, 1], "vertical", ops)
        angle = symmetric(random_values[:, 2], self.rotation) * (2 * math.pi)
        scale = 1 + symmetric(random_values[:, 3], self.zoom)
        right, down = (symmetric(random_values[:, column], self.translation) for column in (4, 5))
        cosine, sine = scale * ops.cos(angle), scale * ops.sin(angle)
        linear = cosine * mirror_x, -sine * mirror_y, sine * mirror_x, cosine * mirror_y
        rows = centered(linear, (right, down), size)
        for operation in operations(POLICIES[self.policy], random_values[:, _POLICY], ops):
            rows = compose(rows, policy_move(operation, size, ops))
        if self.random_resized_crop:
            # Last, so that the part is inside the image.
            rows = compose(resized_crop(random_values[:, _CROP], self.random_resized_crop, size, ops), rows)
        return to_matrices(rows, ops)

    def _change_pixels(self, images: Any, random_values: Any) -> Any:
        """Return images after the changes that move no pixel."""
        if self.brightness or self.contrast or self.saturation or self.hue:
            images = self._adjust_color(images, random_values)
        for operation in operations(POLICIES[self.policy], random_values[:, _POLICY], keras.ops):
            images = operation.change_color(images)
        if self.blur:
            images = gaussian_blur(images, self.blur * random_values[:, _BLUR])
        if self.jpeg_quality:
            span = 101 - self.jpeg_quality
            images = jpeg(images, self.jpeg_quality + keras.ops.floor(random_values[:, _JPEG] * span))
        return erase(images, random_values[:, _ERASING], self.erasing) if self.erasing else images

    def _adjust_color(self, images: Any, random_values: Any) -> Any:
        ops = keras.ops
        brightness, contrast, saturation, hue = (random_values[:, column, None, None, None] for column in range(6, 10))
        if self.brightness:
            images = images + 255 * symmetric(brightness, self.brightness)
        if self.contrast:
            mean = ops.mean(images, axis=(1, 2), keepdims=True)
            images = mean + (images - mean) * (1 + symmetric(contrast, self.contrast))
        if self.saturation or self.hue:
            factor = 1 + symmetric(saturation, self.saturation)
            images = change_saturation_and_hue(images, factor, symmetric(hue, self.hue))
        return ops.clip(images, 0, 255) if self.brightness or self.contrast else images

    def _random_sign(self, random_values: Any, direction: str, ops: Any) -> Any:
        if direction not in (self.flip or ""):
            return ops.ones_like(random_values)
        return ops.where(random_values < 0.5, -1.0, 1.0)

    def show(self, image: Any, path: str | os.PathLike[str] | None = None) -> Figure:
        """Plot nine augmented views of one image.

        Args:
            image: array (height, width, 3), RGB in [0, 255], or the path of a file.
            path: where to save the figure. Defaults to None, which saves nothing.

        Returns:
            The matplotlib figure.
        """
        if isinstance(image, (str, bytes, os.PathLike)):
            image = read_image(image)
        copies = np.repeat(np.asarray(image, "float32")[None], 9, axis=0)
        views = self.augment(copies, [(self.seed, number) for number in range(9)])
        return image_grid(views, [f"View {number}" for number in range(1, 10)], path=path)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the layer, for `from_config`."""
        fractions = ("rotation", "zoom", "translation", "brightness", "contrast", "saturation", "hue")
        names = ("flip", *fractions, "fill_mode", "seed")
        # Without the defaults of newer options, the configuration, a part of the keys of stored features, is unchanged.
        newer = {
            name: getattr(self, name) for name, default in _NEWER_DEFAULTS.items() if getattr(self, name) != default
        }
        return {**super().get_config(), **{name: getattr(self, name) for name in names}, **newer}
