"""Operations on pixels against Pillow, and each option eagerly, in tf.data, on the cached path and with XLA."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from transferkit.augmentation.block import AugmentationBlock
from transferkit.augmentation.color import auto_contrast, equalize
from transferkit.augmentation.degradation import gaussian_blur, jpeg
from transferkit.augmentation.erasing import erase
from transferkit.augmentation.geometry import resized_crop
from transferkit.augmentation.policies import _COLOR_OPERATIONS, OPERATIONS, POLICIES, operations

NEW_OPTIONS: list[dict[str, Any]] = [
    {"random_resized_crop": (0.3, 0.8)},
    {"erasing": 0.8},
    {"blur": 2.0},
    {"jpeg_quality": 10},
    {"policy": "rand_augment"},
    {"policy": "trivial_augment"},
]
SIZES = [(40, 56), (17, 9), (1, 1), (2, 31)]


def photo(height: int = 40, width: int = 56) -> np.ndarray:
    """Return a smooth image with an edge, uint8, of all colors."""
    rows, columns = np.mgrid[:height, :width].astype("float32")
    image = np.stack([4 * rows + 30, 3 * columns + 20, 120 + 60 * np.sin(rows / 5) * np.cos(columns / 7)], axis=-1)
    image[:, width // 2 :] *= 0.7
    return image.clip(0, 255).astype("uint8")


def apply(function: Callable[..., Any], *arguments: float) -> np.ndarray:
    batch = tf.constant(photo()[None], tf.float32)
    return np.asarray(function(batch, *[tf.constant([value], tf.float32) for value in arguments]))[0]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", NEW_OPTIONS, ids=str)
def test_option_is_equal_on_every_path(options: dict[str, Any], size: tuple[int, int]) -> None:
    block = AugmentationBlock(flip=None, **options)
    seeds = [(5, number) for number in range(12)]
    images = np.stack([np.roll(photo(*size), number, axis=1) for number in range(12)])
    cached = block.augment(images, seeds)
    assert (cached.dtype, cached.shape) == (np.float32, images.shape)
    assert cached.min() >= 0 and cached.max() < 255.001
    count = block._num_random_values
    values = np.stack([np.random.default_rng(seed).random(count, np.float32) for seed in seeds])
    batch = images.astype("float32")
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, count])]
    in_graph = tf.function(lambda *arguments: block._augment(*arguments), input_signature=signature)
    dataset = tf.data.Dataset.from_tensors((batch, values)).map(in_graph)
    for result in (block._augment(batch, values), next(iter(dataset))):
        np.testing.assert_allclose(result, cached, atol=0.1)
    alone = block.augment(images[3:4], seeds[3:4])
    np.testing.assert_allclose(alone[0], cached[3], atol=0.1)


@pytest.mark.parametrize("options", [*NEW_OPTIONS[1:4], {"hue": 0.1, "contrast": 0.2, "brightness": 0.1}], ids=str)
def test_option_is_equal_with_xla(options: dict[str, Any]) -> None:
    block = AugmentationBlock(flip=None, **options)
    batch = np.stack([np.roll(photo(), number, axis=1) for number in range(8)]).astype("float32")
    values = np.random.default_rng(0).random((8, block._num_random_values), np.float32)
    with_xla = tf.function(lambda *arguments: block._augment(*arguments), jit_compile=True)
    assert block.supports_jit
    np.testing.assert_allclose(with_xla(batch, values), block._augment(batch, values), atol=0.1)


def test_layer_with_affine_transformation_is_not_for_xla() -> None:
    for options in ({"rotation": 0.1}, {"random_resized_crop": (0.5, 1)}, {"policy": "rand_augment"}):
        block = AugmentationBlock(flip=None, **options)
        inputs = keras.Input((8, 8, 3))
        model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(block(inputs)))
        model.compile(loss="mse", jit_compile="auto")
        assert not model.jit_compile


@pytest.mark.parametrize("options", NEW_OPTIONS, ids=str)
def test_option_changes_images_in_training_only(options: dict[str, Any]) -> None:
    block = AugmentationBlock(flip=None, **options)
    batch = np.repeat(photo()[None], 8, axis=0).astype("float32")
    first, second = (np.asarray(block(batch, training=True)) for _ in range(2))
    assert first.dtype == np.float32 and first.min() >= 0 and first.max() < 255.001
    assert np.abs(first - batch).max() > 1
    assert np.abs(first - second).max() > 1
    assert len({image.tobytes() for image in first}) > 3, "images of a batch are changed alike"
    np.testing.assert_array_equal(block(batch), batch)
    (state,) = [variable for variable in block.variables if variable.name == "seed_generator_state"]
    state.assign([3, 0])
    third = np.asarray(block(batch, training=True))
    state.assign([3, 0])
    np.testing.assert_array_equal(block(batch, training=True), third)


ENHANCERS: list[tuple[str, Any]] = [
    ("saturation", ImageEnhance.Color),
    ("contrast", ImageEnhance.Contrast),
    ("brightness", ImageEnhance.Brightness),
    ("sharpness", ImageEnhance.Sharpness),
]


@pytest.mark.parametrize("factor", [0.1, 1.0, 1.9])
@pytest.mark.parametrize(("name", "enhancer"), ENHANCERS, ids=[name for name, _ in ENHANCERS])
def test_blend_matches_pillow(name: str, enhancer: Any, factor: float) -> None:
    expected = np.asarray(enhancer(Image.fromarray(photo())).enhance(factor), "float32")
    np.testing.assert_allclose(apply(_COLOR_OPERATIONS[name], factor), expected, atol=2)


def test_color_operations_match_pillow() -> None:
    image = Image.fromarray(photo())
    # Pillow divides by a whole number of pixels, so that it differs for small images.
    large = np.random.default_rng(0).gamma(4, 20, (400, 500, 3)).clip(0, 255).astype("uint8")
    equalized = np.asarray(equalize(tf.constant(large[None], tf.float32)))[0]
    np.testing.assert_allclose(equalized, np.asarray(ImageOps.equalize(Image.fromarray(large))), atol=1.5)
    np.testing.assert_allclose(apply(auto_contrast), np.asarray(ImageOps.autocontrast(image)), atol=1.01)
    solarized = np.asarray(ImageOps.solarize(image, 128), "float32")
    np.testing.assert_allclose(apply(_COLOR_OPERATIONS["solarize"], 1 - 127.5 / 255), solarized, atol=1e-3)
    posterized = np.asarray(ImageOps.posterize(image, 5), "float32")
    np.testing.assert_allclose(apply(_COLOR_OPERATIONS["posterize"], 3), posterized, atol=1e-3)


def test_color_operations_keep_uniform_images() -> None:
    uniform = tf.fill([2, 5, 5, 3], 77.0)
    for function in (auto_contrast, equalize):
        np.testing.assert_allclose(function(uniform), uniform, atol=1e-3)


@pytest.mark.parametrize("quality", [10, 50, 75, 95])
@pytest.mark.parametrize("size", [(40, 56), (33, 47)])
def test_jpeg_matches_pillow(quality: int, size: tuple[int, int]) -> None:
    image, file = photo(*size), io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    expected = np.asarray(Image.open(file), "float32")
    actual = np.asarray(jpeg(tf.constant(image[None], tf.float32), tf.constant([float(quality)])))[0]
    # The decoder of Pillow rounds at several steps and interpolates chroma at edges.
    assert np.abs(actual - expected).mean() < 0.15 * np.abs(expected - image).mean() + 0.7
    # The loss of quality is the same.
    assert np.abs(actual - image).mean() == pytest.approx(np.abs(expected - image).mean(), rel=0.25, abs=0.3)


def test_jpeg_quality_is_chosen_for_each_image() -> None:
    batch = tf.constant(np.repeat(photo()[None], 2, axis=0), tf.float32)
    both = np.asarray(jpeg(batch, tf.constant([5.0, 90.0])))
    errors = np.abs(both - batch).mean(axis=(1, 2, 3))
    assert errors[0] > 3 * errors[1]
    np.testing.assert_allclose(both[1], np.asarray(jpeg(batch[1:], tf.constant([90.0])))[0], atol=1e-3)


def test_blur_of_a_point_is_a_gaussian() -> None:
    point = np.zeros((1, 41, 41, 3), "float32")
    point[0, 20, 20] = 255
    distances = np.arange(41) - 20
    profile = np.exp(-(distances**2) / (2 * 2.5**2)) / (2.5 * np.sqrt(2 * np.pi))
    blurred = np.asarray(gaussian_blur(tf.constant(point), tf.constant([2.5])))
    np.testing.assert_allclose(blurred[0, ..., 0], 255 * np.outer(profile, profile), atol=0.01)
    np.testing.assert_array_equal(gaussian_blur(tf.constant(point), tf.constant([0.0])), point)
    uniform = np.full((1, 9, 13, 3), 200, "float32")
    np.testing.assert_allclose(gaussian_blur(tf.constant(uniform), tf.constant([4.0])), uniform, atol=1e-3)


def test_erasing_areas_and_probability() -> None:
    values = np.random.default_rng(0).random((400, 8), np.float32)
    images = np.full((400, 50, 50, 3), -1, "float32")
    erased = (np.asarray(erase(tf.constant(images), tf.constant(values), 0.5)) >= 0).all(axis=-1)
    areas = erased.mean(axis=(1, 2))
    assert 160 < (areas > 0).sum() < 240
    assert areas[areas > 0].min() > 0.01 and areas.max() < 0.36
    for mask in erased[:50]:
        np.testing.assert_array_equal(mask, mask.any(axis=1)[:, None] & mask.any(axis=0))


def test_resized_crop_is_part_of_the_image() -> None:
    values = np.random.default_rng(0).random((300, 4), np.float32)
    xx, _, x, _, yy, y = resized_crop(values, (0.3, 0.8), (30, 40), np)
    # Outer edges of the first and last pixels of the output, in the input.
    for scale, start, pixels in ((xx, x, 40), (yy, y, 30)):
        first, last = start - scale / 2, start + scale * (pixels - 0.5)
        assert first.min() > -0.5001 and last.max() < pixels - 0.4999
    assert (xx * yy).min() > 0.29 and (xx * yy).max() < 0.81
    assert (xx / yy).min() > 0.74 and (xx / yy).max() < 1.34


def test_resized_crop_enlarges_a_quarter() -> None:
    block = AugmentationBlock(flip=None, random_resized_crop=(0.25, 0.25))
    values = np.zeros((1, block._num_random_values), "float32")
    values[:, :10] = 0.5
    values[:, 10:14] = 0.5, 0.5, 0.0, 1.0  # The original ratio, at the left and the bottom.
    images = np.zeros((1, 40, 40, 3), "float32")
    images[:, 20:, :20] = 200
    result = np.asarray(block._augment(images, values))
    np.testing.assert_allclose(result[:, 1:, :-1], 200, atol=1e-3)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("policy", ["rand_augment", "trivial_augment"])
def test_policy_operation_is_used(policy: str, name: str) -> None:
    block = AugmentationBlock(flip=None, policy=policy)
    values = np.full((1, block._num_random_values), 0.5, "float32")
    policy_values = values[:, 24:].reshape(1, 2, 3)
    policy_values[:, :, 0] = 0.01  # Identity.
    policy_values[:, 0] = (OPERATIONS.index(name) + 0.5) / len(OPERATIONS), 0.9, 0.9
    values[:, 24:] = policy_values.reshape(1, 6)
    image = photo().astype("float32")
    changed = np.abs(np.asarray(block._augment(image[None], values)) - image).max() > 0.5
    assert changed == (name != "identity")


def test_rotation_of_a_policy_has_its_largest_angle() -> None:
    policy = POLICIES["trivial_augment"]
    assert policy is not None
    values = np.array([[(OPERATIONS.index("rotate") + 0.5) / 14, 1.0, 0.9]], "float32")
    (operation,) = operations(policy, values, np)
    assert operation.signed("rotate", 135, np).tolist() == [135]
    assert operation.signed("shear_x", 1, np).tolist() == [0]


def test_policies_choose_all_operations() -> None:
    policy = POLICIES["rand_augment"]
    values = np.random.default_rng(0).random((1400, 6), np.float32)
    for operation in operations(policy, values, np):
        counts = np.bincount(operation.index.astype(int), minlength=14)
        assert len(counts) == 14 and counts.min() > 60 and counts.max() < 140


@pytest.mark.parametrize("name", ["none", "light", "medium", "strong"])
def test_preset_round_trip_in_a_saved_model(name: str, tmp_path: Any) -> None:
    block = AugmentationBlock.preset(name, seed=4)
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, block(inputs)).save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras").layers[1]
    assert loaded.get_config() == block.get_config()
    images, seeds = photo()[None].repeat(3, axis=0), [(0, number) for number in range(3)]
    np.testing.assert_array_equal(loaded.augment(images, seeds), block.augment(images, seeds))
    assert (np.abs(block.augment(images, seeds) - images).max() > 1) == (name != "none")
    assert not block.mixes


def test_presets_get_stronger() -> None:
    images, seeds = photo()[None].repeat(64, axis=0), [(0, number) for number in range(64)]
    changes = [
        np.abs(AugmentationBlock.preset(name).augment(images, seeds) - images).mean()
        for name in ("none", "light", "medium", "strong")
    ]
    assert changes == sorted(changes) and changes[0] == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"random_resized_crop": (0.8, 0.5)}, "`random_resized_crop` must be None or (smallest, largest)"),
        ({"random_resized_crop": 0.5}, "Received: 0.5. Give, for example, (0.5, 1.0)."),
        ({"random_resized_crop": (0, 1)}, "two fractions of the area in (0, 1]. Received: (0, 1)."),
        ({"erasing": 25}, "`erasing` must be in [0, 1]. Received: 25. For 25 percent, give 0.25."),
        ({"blur": -1}, "`blur` must be a finite number of at least 0. Received: -1."),
        ({"jpeg_quality": 0}, "`jpeg_quality` must be an integer of at least 1. Received: 0."),
        ({"jpeg_quality": 101}, "`jpeg_quality` must be in [1, 100]. Received: 101."),
        ({"policy": "randaugment"}, "Received: 'randaugment'. Did you mean 'rand_augment'"),
        ({"cutmix": float("nan")}, "`cutmix` must be a finite number of at least 0. Received: nan."),
    ],
)
def test_option_out_of_range_raises(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as error:
        AugmentationBlock(**options)
    assert text in str(error.value)


def test_unknown_preset_raises() -> None:
    with pytest.raises(ValueError, match="must be one of 'none', 'light', 'medium', 'strong'. Received: 'stron'"):
        AugmentationBlock.preset("stron")
