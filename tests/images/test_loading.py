"""Loading: the same pixels for one image, many images and a dataset."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.images.image_corpus import encode, exif, sample_image
from tests.images.profiles import DISPLAY_P3, matrix_profile
from transferkit._utils import parallel
from transferkit.errors import ImageError
from transferkit.images import content_hashes, image_dataset, read_image
from transferkit.images.loading import image_batches, load_image, load_images, load_with_metadata
from transferkit.images.spec import INTERPOLATIONS, ImageSpec

SPEC = ImageSpec((24, 32))


@pytest.fixture
def files(folder, tmp_path):
    """Twenty photographs, and one that Pillow reads."""
    odd = tmp_path / "odd.webp"
    odd.write_bytes(encode(sample_image(), "WEBP", lossless=True))
    return [*sorted(str(path) for path in folder.rglob("*.jpg")), str(odd)]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("antialias", [False, True])
def test_load_image_resizes_like_tensorflow(interpolation, antialias):
    spec = ImageSpec((20, 28), interpolation=interpolation, antialias=antialias)
    resized = tf.image.resize(sample_image(), (20, 28), interpolation, antialias=antialias)
    expected = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    assert np.array_equal(load_image(sample_image(), spec), expected)


def test_load_image_crops_center_and_pads():
    image = sample_image()
    crop = load_image(image, ImageSpec((48, 48), resize="crop"))
    assert np.array_equal(crop, image[:, 8:56])
    smaller = load_image(image, ImageSpec((24, 24), resize="crop", crop_fraction=0.5))
    assert np.array_equal(smaller, image[12:36, 20:44])
    padded = load_image(image, ImageSpec((64, 64), resize="pad"))
    assert np.array_equal(padded[8:56], image) and not padded[:8].any() and not padded[56:].any()


def test_load_images_batches_and_dataset_are_equal(files):
    alone = np.stack([load_image(path, SPEC) for path in files])
    assert np.array_equal(np.stack(load_images(files, SPEC)), alone)
    order = np.random.default_rng(0).permutation(len(files))
    for _ in range(2):
        batches = list(image_batches(files, SPEC, batch_size=4, order=order))
        assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 1]
        assert np.array_equal(np.concatenate(batches), alone[order])
    streamed = image_dataset(files, SPEC, order=order)
    assert len(streamed) == len(files)
    assert np.array_equal(np.stack(list(streamed.as_numpy_iterator())), alone[order])


def test_load_images_keeps_neighbors_of_a_corrupt_file(files, tmp_path):
    data = bytearray(encode(sample_image(), "PNG"))
    data[60] ^= 1
    corrupt = tmp_path / "corrupt.png"
    corrupt.write_bytes(data)
    loaded = load_images([*files[:3], str(corrupt), *files[3:6]], SPEC)
    assert isinstance(loaded[3], ImageError) and loaded[3].path == str(corrupt)
    assert all(np.array_equal(image, load_image(path, SPEC)) for image, path in zip(loaded[:3], files))
    with pytest.raises(tf.errors.OpError, match=r"corrupt\.png"):
        list(image_dataset([str(corrupt)], SPEC))


def test_load_image_reduces_large_jpeg_unless_full_decode(tmp_path):
    smooth = Image.fromarray(sample_image()).resize((640, 480), Image.Resampling.BICUBIC)
    path = tmp_path / "large.jpg"
    smooth.save(path, quality=95, exif=exif(6))
    reduced, exact = load_image(path, SPEC), load_image(path, ImageSpec((24, 32), full_decode=True))
    assert not np.array_equal(reduced, exact)
    assert np.abs(reduced.astype(int) - exact).mean() < 3
    whole = np.asarray(Image.open(path).rotate(-90, expand=True).convert("RGB"))
    assert np.array_equal(exact, load_image(whole, SPEC))


def test_image_batches_do_not_depend_on_threads(files, monkeypatch):
    results = []
    for count in (1, 2, 7):
        monkeypatch.setattr(parallel, "num_workers", lambda count=count: count)
        results.append(np.concatenate(list(image_batches(files, SPEC, batch_size=5))))
    assert all(np.array_equal(result, results[0]) for result in results)


def test_content_hashes_follow_contents(files, tmp_path):
    copy = tmp_path / "copy.jpg"
    shutil.copy(files[0], copy)
    keys = content_hashes([*files, str(copy)])
    assert all(len(key) == 32 for key in keys) and keys[0] == keys[-1] and len(set(keys)) == len(files)
    with pytest.raises(ImageError, match="no such file"):
        content_hashes(["/nowhere.jpg"])


def test_large_jpeg_is_decoded_at_reduced_size(monkeypatch):
    image = Image.fromarray(sample_image()).resize((1600, 1200))
    data, progressive = encode(image, "JPEG"), encode(image, "JPEG", progressive=True)
    profiled = encode(image, "JPEG", icc_profile=matrix_profile(2.2, DISPLAY_P3))
    expected = load_images([data, progressive, profiled], SPEC)
    # 1.92 megapixels, of which 1/64 is decoded.
    monkeypatch.setenv("TRANSFERKIT_MAX_PIXELS", "700_000")
    with pytest.raises(
        ImageError, match="1600 x 1200 pixels, more than 700,000; raise `max_pixels` or .TRANSFERKIT_MAX"
    ):
        read_image(data)
    assert read_image(data, max_pixels=2_000_000).shape == (1200, 1600, 3)
    loaded = load_with_metadata([data, profiled], SPEC)
    for one, other in zip(loaded, [expected[0], expected[2]]):
        assert np.array_equal(one.image, other) and one.size == (1200, 1600)
    with pytest.raises(ImageError, match="more than 700,000"):
        load_image(data, ImageSpec((24, 32), full_decode=True))
    with pytest.raises(ImageError, match="more than 700,000"):
        # The coefficients of all pixels are held in memory.
        load_image(progressive, SPEC)
    monkeypatch.setenv("TRANSFERKIT_MAX_PIXELS", "1400000")
    assert np.array_equal(load_image(progressive, SPEC), expected[1])
    monkeypatch.setenv("TRANSFERKIT_MAX_PIXELS", "400000")
    with pytest.raises(ImageError, match="more than 400,000"):
        load_image(data, SPEC)
    monkeypatch.setenv("TRANSFERKIT_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match=r"\$TRANSFERKIT_MAX_PIXELS must be a number of pixels.*Received: 'many'"):
        load_image(data, SPEC)


def test_reduced_jpeg_with_profile_has_upright_size():
    image = Image.fromarray(sample_image()).resize((1600, 1200))
    data = encode(image, "JPEG", icc_profile=matrix_profile(2.2, DISPLAY_P3), exif=exif(6))
    (loaded,) = load_with_metadata([data], SPEC)
    assert loaded.size == (1600, 1200) and loaded.format == "jpeg"
