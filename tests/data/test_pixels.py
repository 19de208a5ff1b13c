"""One image, many images, a stream, a store: the same pixels everywhere, in an order that follows from the seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.conftest import draw
from tests.data.odd_files import encoded, exif, picture
from transferkit.data import DatasetBuilder
from transferkit.data.examples import Split
from transferkit.data.pipeline import epoch_order, epochs_dataset, evaluation_dataset, split_of
from transferkit.errors import ImageError
from transferkit.images import content_hashes, image_dataset
from transferkit.images import loading as pixels_module
from transferkit.images.disk_cache import open_disk_cache
from transferkit.images.header import read_header
from transferkit.images.loading import image_batches, load_image, load_images
from transferkit.images.memory_cache import PIXEL_MEMORY, MemoryImageCache
from transferkit.images.spec import INTERPOLATIONS, ImageSpec

SPEC = ImageSpec((24, 32))


@pytest.fixture
def files(folder, tmp_path):
    """Twenty photographs, and one that Pillow reads."""
    odd = tmp_path / "odd.webp"
    odd.write_bytes(encoded(picture(), "WEBP", lossless=True))
    return [*sorted(str(path) for path in folder.rglob("*.jpg")), str(odd)]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("antialias", [False, True])
def test_resizing_is_that_of_tensorflow_rounded(interpolation, antialias):
    spec = ImageSpec((20, 28), interpolation=interpolation, antialias=antialias)
    resized = tf.image.resize(picture(), (20, 28), interpolation, antialias=antialias)
    expected = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    assert np.array_equal(load_image(picture(), spec), expected)


def test_cropping_keeps_the_middle_and_padding_the_whole():
    image = picture()
    crop = load_image(image, ImageSpec((48, 48), resize="crop"))
    assert np.array_equal(crop, image[:, 8:56])
    smaller = load_image(image, ImageSpec((24, 24), resize="crop", crop_fraction=0.5))
    assert np.array_equal(smaller, image[12:36, 20:44])
    padded = load_image(image, ImageSpec((64, 64), resize="pad"))
    assert np.array_equal(padded[8:56], image) and not padded[:8].any() and not padded[56:].any()


def test_one_many_and_streamed_pixels_are_the_same_bits(files):
    PIXEL_MEMORY.clear()
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


def test_one_corrupt_file_does_not_take_its_neighbours_along(files, tmp_path):
    data = bytearray(encoded(picture(), "PNG"))
    data[60] ^= 1
    corrupt = tmp_path / "corrupt.png"
    corrupt.write_bytes(data)
    loaded = load_images([*files[:3], str(corrupt), *files[3:6]], SPEC)
    assert isinstance(loaded[3], ImageError) and loaded[3].path == str(corrupt)
    assert all(np.array_equal(image, load_image(path, SPEC)) for image, path in zip(loaded[:3], files))
    with pytest.raises(tf.errors.OpError, match=r"corrupt\.png"):
        list(image_dataset([str(corrupt)], SPEC))


def test_large_jpegs_are_decoded_at_a_reduced_scale_unless_exact(tmp_path):
    smooth = Image.fromarray(picture()).resize((640, 480), Image.Resampling.BICUBIC)
    path = tmp_path / "large.jpg"
    smooth.save(path, quality=95, exif=exif(6))
    reduced, exact = load_image(path, SPEC), load_image(path, ImageSpec((24, 32), exact=True))
    assert not np.array_equal(reduced, exact)
    assert np.abs(reduced.astype(int) - exact).mean() < 3
    whole = np.asarray(Image.open(path).rotate(-90, expand=True).convert("RGB"))
    assert np.array_equal(exact, load_image(whole, SPEC))


def test_what_the_header_says_decides_the_way():
    assert read_header(encoded(picture(), "JPEG")).plain
    assert read_header(encoded(picture(), "PNG")).plain
    turned = read_header(encoded(picture(), "JPEG", exif=exif(6)))
    assert turned.plain and turned.orientation == 6 and turned.upright_size == (64, 48)
    assert not read_header(encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG")).plain
    assert not read_header(encoded(Image.fromarray(picture()).convert("RGBA"), "PNG")).plain
    assert read_header(encoded(picture(), "WEBP")).upright_size == (48, 64)
    assert read_header(encoded(picture(), "WEBP", lossless=True)).upright_size == (48, 64)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF1234WEBP"])
)
def test_no_bytes_break_the_reading_of_headers(data, start):
    header = read_header(start + data)
    assert header.width >= 0 and header.height >= 0


def test_the_order_of_an_epoch_follows_from_its_numbers():
    assert epoch_order(6, 0, 0).tolist() == [0, 2, 1, 5, 4, 3]
    assert sorted(epoch_order(50, 3, 1)) == list(range(50))
    assert epoch_order(50, 3, 1).tolist() != epoch_order(50, 3, 2).tolist() != epoch_order(50, 4, 2).tolist()


def test_a_stream_of_epochs_can_be_taken_up_anywhere(files):
    split = Split("train", np.arange(len(files), dtype=np.int32), SPEC, paths=tuple(files))
    whole = list(epochs_dataset(split, batch_size=8, seed=1, first_epoch=0, epochs=3))
    assert [len(labels) for _, labels in whole] == [8, 8, 5] * 3
    resumed = list(epochs_dataset(split, batch_size=8, seed=1, first_epoch=2, epochs=1))
    for (images, labels), (again, labels_again) in zip(whole[6:], resumed):
        assert np.array_equal(images, again) and np.array_equal(labels, labels_again)
    first = np.concatenate([labels for _, labels in whole[:3]])
    assert first.tolist() == epoch_order(len(files), 1, 0).tolist()
    images = np.concatenate([images for images, _ in whole[:3]])
    assert np.array_equal(images[0], load_image(files[first[0]], SPEC))


def test_training_batches_are_shuffled_anew_and_known_to_be_ours(folder):
    data = DatasetBuilder(folder, image_size=(24, 32), batch_size=20).build()
    first, second = (next(iter(data.train))[1].numpy().tolist() for _ in range(2))
    assert sorted(first) == sorted(second) and first != second
    again = DatasetBuilder(folder, image_size=(24, 32), batch_size=20).build()
    assert next(iter(again.train))[1].numpy().tolist() == first
    assert split_of(data.train) is data.splits["train"] and split_of(data.train.take(1)) is None


def test_the_number_of_threads_changes_nothing(files, monkeypatch):
    results = []
    for count in (1, 2, 7):
        PIXEL_MEMORY.clear()
        monkeypatch.setattr(pixels_module, "threads", lambda count=count: count)
        results.append(np.concatenate(list(image_batches(files, SPEC, batch_size=5))))
    assert all(np.array_equal(result, results[0]) for result in results)


def test_content_keys_are_of_the_contents(files, tmp_path):
    copy = tmp_path / "copy.jpg"
    shutil.copy(files[0], copy)
    keys = content_hashes([*files, str(copy)])
    assert all(len(key) == 32 for key in keys) and keys[0] == keys[-1] and len(set(keys)) == len(files)
    with pytest.raises(ImageError, match="no such file"):
        content_hashes(["/nowhere.jpg"])


def test_the_memory_is_limited_and_keeps_what_came_first():
    memory = MemoryImageCache(limit=3000)
    for key in range(4):
        memory.put(key, np.full((20, 20, 3), key, np.uint8))
    assert memory.get(0)[0, 0, 0] == 0 and memory.get(1) is not None and memory.get(2) is None
    with pytest.raises(ValueError, match="read-only"):
        memory.get(0)[:] = 1
    memory.clear()
    assert memory.get(0) is None and memory.get(None) is None


def test_a_store_gives_the_same_pixels_and_mends_damage(files):
    digests = content_hashes(files)
    store = open_disk_cache(files, digests, SPEC)
    for number, path in enumerate(files):
        assert np.array_equal(store.read(number), load_image(path, SPEC))
    file = next(iter(store.images.filename for _ in [0]))
    with open(file, "r+b") as handle:
        handle.seek(2000)
        handle.write(b"\0damage\0" * 20)
    again = open_disk_cache(files, digests, SPEC)
    assert any(zlib.crc32(np.array(image).data) != total for image, total in zip(again.images, again.sums))
    for number, path in enumerate(files):
        assert np.array_equal(again.read(number), load_image(path, SPEC))


@pytest.mark.parametrize("length", [0, 50, 5000])
def test_a_store_that_was_cut_is_written_anew(files, length):
    digests = content_hashes(files)
    name = open_disk_cache(files, digests, SPEC).images.filename
    os.truncate(name, length)
    assert np.array_equal(open_disk_cache(files, digests, SPEC).read(0), load_image(files[0], SPEC))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_a_store_holds_each_content_once_in_any_order(tmp_path_factory, numbers):
    folder = tmp_path_factory.getbasetemp() / "stored"
    for number in set(numbers):
        if not (folder / f"{number}.jpg").exists():
            draw(folder / f"{number}.jpg", number)
    paths = [str(folder / f"{number}.jpg") for number in numbers]
    store = open_disk_cache(paths, content_hashes(paths), ImageSpec((8, 8)))
    assert len(store.images) == len(set(numbers))
    for number, path in enumerate(paths):
        assert np.array_equal(store.read(number), load_image(path, ImageSpec((8, 8))))


def test_two_processes_share_a_store(files, own_home):
    code = (
        "import sys; from transferkit.images import content_hashes, ImageSpec; "
        "from transferkit.images.disk_cache import open_disk_cache; "
        "s = open_disk_cache(sys.argv[1:], content_hashes(sys.argv[1:]), ImageSpec((24, 32))); print(int(s.images.sum()))"
    )
    command = [sys.executable, "-c", code, *files]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    sums = [process.communicate(timeout=120)[0] for process in running]
    assert sums[0] == sums[1] != b""
    assert len([path for path in (own_home / "pixels").iterdir() if path.is_dir()]) == 1


def test_training_from_the_store_is_training_from_the_files(folder):
    options = {"image_size": (24, 32), "validation": 0.25}
    plain = DatasetBuilder(folder, **options).build()
    stored = DatasetBuilder(folder, cache_images=True, **options).build()
    for name in ("train", "validation"):
        for one, other in zip(getattr(plain, name), getattr(stored, name)):
            assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def test_evaluation_of_arrays_comes_in_order():
    images = np.arange(5 * 24 * 32 * 3).reshape(5, 24, 32, 3).astype(np.uint8)
    split = Split("test", np.arange(5, dtype=np.int32), SPEC, images=images)
    got = list(evaluation_dataset(split, batch_size=2))
    assert np.array_equal(np.concatenate([batch for batch, _ in got]), images.astype(np.float32))
    assert np.concatenate([labels for _, labels in got]).tolist() == [0, 1, 2, 3, 4]


def test_a_spec_comes_back_from_json_and_names_its_mistakes():
    spec = ImageSpec(160, resize="crop", crop_fraction=0.875, antialias=True)
    assert ImageSpec.from_dict(spec.to_dict()) == spec and spec.image_size == (160, 160)
    others = [ImageSpec((160, 161)), ImageSpec((160, 160), exact=True), ImageSpec((160, 160), antialias=True)]
    assert len({one.cache_key() for one in [spec, *others]}) == 4
    with pytest.raises(ValueError, match=r"`crop_fraction` must be in \(0, 1\]. Received: 0"):
        ImageSpec((160, 160), crop_fraction=0)
    with pytest.raises(ValueError, match="Did you mean 'bilinear'"):
        ImageSpec((160, 160), interpolation="bilinar")
    with pytest.raises(ImageError, match=r"\(height, width, 3\), not \(4, 4\)"):
        load_image(np.zeros((4, 4)), SPEC)
