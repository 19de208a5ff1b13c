"""The on-disk cache of decoded images."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import write_jpeg
from tests.images.image_corpus import encode, sample_image
from tests.waiting import TIMEOUT
from transferkit.data import DatasetBuilder
from transferkit.images import content_hashes
from transferkit.images.disk_cache import open_disk_cache
from transferkit.images.loading import load_image
from transferkit.images.spec import ImageSpec

SPEC = ImageSpec((24, 32))


@pytest.fixture
def files(folder, tmp_path):
    """Twenty photographs, and one that Pillow reads."""
    odd = tmp_path / "odd.webp"
    odd.write_bytes(encode(sample_image(), "WEBP", lossless=True))
    return [*sorted(str(path) for path in folder.rglob("*.jpg")), str(odd)]


def test_disk_cache_equals_files_and_repairs_damage(files):
    digests = content_hashes(files)
    store = open_disk_cache(files, digests, SPEC)
    for number, path in enumerate(files):
        assert np.array_equal(store.read(number), load_image(path, SPEC))
    file = next(iter(store.images.filename for _ in [0]))
    with open(file, "r+b") as handle:
        handle.seek(2000)
        handle.write(b"\0damage\0" * 20)
    again = open_disk_cache(files, digests, SPEC)
    assert any(zlib.crc32(np.array(image).data) != total for image, total in zip(again.images, again.checksums))
    for number, path in enumerate(files):
        assert np.array_equal(again.read(number), load_image(path, SPEC))


@pytest.mark.parametrize("length", [0, 50, 5000])
def test_disk_cache_truncated_is_written_again(files, length):
    digests = content_hashes(files)
    name = open_disk_cache(files, digests, SPEC).images.filename
    os.truncate(name, length)
    assert np.array_equal(open_disk_cache(files, digests, SPEC).read(0), load_image(files[0], SPEC))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_disk_cache_stores_each_content_once(tmp_path_factory, numbers):
    folder = tmp_path_factory.getbasetemp() / "stored"
    for number in set(numbers):
        if not (folder / f"{number}.jpg").exists():
            write_jpeg(folder / f"{number}.jpg", number)
    paths = [str(folder / f"{number}.jpg") for number in numbers]
    store = open_disk_cache(paths, content_hashes(paths), ImageSpec((8, 8)))
    assert len(store.images) == len(set(numbers))
    for number, path in enumerate(paths):
        assert np.array_equal(store.read(number), load_image(path, ImageSpec((8, 8))))


def test_disk_cache_is_shared_by_processes(files, own_home):
    code = (
        "import sys; from transferkit.images import content_hashes, ImageSpec; "
        "from transferkit.images.disk_cache import open_disk_cache; "
        "paths = sys.argv[1:]; cache = open_disk_cache(paths, content_hashes(paths), ImageSpec((24, 32))); "
        "print(int(cache.images.sum()))"
    )
    command = [sys.executable, "-c", code, *files]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    sums = [process.communicate(timeout=TIMEOUT)[0] for process in running]
    assert sums[0] == sums[1] != b""
    assert len([path for path in (own_home / "images").iterdir() if path.is_dir()]) == 1


def test_builder_cache_images_equals_files(folder):
    options = {"image_size": (24, 32), "validation": 0.25}
    plain = DatasetBuilder(folder, **options).build()
    stored = DatasetBuilder(folder, cache_images=True, **options).build()
    for name in ("train", "validation"):
        for one, other in zip(getattr(plain, name), getattr(stored, name)):
            assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def test_disk_cache_counts_for_the_cache_limit(files, own_home, monkeypatch):
    digests = content_hashes(files)
    monkeypatch.setenv("TRANSFERKIT_CACHE_LIMIT", "80 kB")
    for size in (24, 25, 26):
        store = open_disk_cache(files, digests, ImageSpec((size, 32)))
    folders = [path for path in (own_home / "images").iterdir() if path.is_dir()]
    assert [folder / "images.npy" for folder in folders] == [store.images.filename]
