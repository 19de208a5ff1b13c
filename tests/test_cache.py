"""Sizes and deletion of caches."""

from __future__ import annotations

from pathlib import Path

import pytest

import transferkit as tk

SIZES = {
    "features": 5,
    "engines": 6,
    "images": 7,
    "unpacked": 8,
    "downloads": 4,
    "trials": 3,
    "shards": 2,
    "file_info": 9,
}


@pytest.fixture
def filled(own_home: Path) -> Path:
    for name, size in SIZES.items():
        path = own_home / ("files-1.sqlite" if name == "file_info" else f"{name}/entry/data.bin")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return own_home


def test_info_sizes(filled: Path) -> None:
    info = tk.cache.info()
    assert info.sizes == SIZES and info.folder == str(filled)
    assert "features 0.0 MB, engines 0.0 MB" in str(info)


def test_info_without_cache(own_home: Path) -> None:
    assert tk.cache.info().sizes == dict.fromkeys(SIZES, 0)


def test_sizes_of_caches_that_training_fills(synthetic: Path) -> None:
    data = tk.DatasetBuilder(synthetic, image_size=64, cache_images=True).build()
    backbone = tk.BackboneFactory.create("MobileNetV2", input_shape=(64, 64, 3), weights=None, alpha=0.35)
    tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2))).fit(data, epochs=1, verbose=0)
    filled = {name for name, size in tk.cache.info().sizes.items() if size}
    assert filled >= {"features", "images", "file_info"}


def test_clear_named_caches(filled: Path) -> None:
    tk.cache.clear("engines", "file_info")
    assert tk.cache.info().sizes == {**SIZES, "engines": 0, "file_info": 0}


def test_clear_all_caches_keeps_downloads(filled: Path) -> None:
    tk.cache.clear()
    assert tk.cache.info().sizes == {**dict.fromkeys(SIZES, 0), "downloads": 4}
    tk.cache.clear("downloads")
    assert tk.cache.info().sizes == dict.fromkeys(SIZES, 0)


def test_clear_unknown_name_raises(filled: Path) -> None:
    with pytest.raises(ValueError, match="`names` must be one of .*Received: 'feature'. Did you mean 'features'"):
        tk.cache.clear("engines", "feature")
    assert tk.cache.info().sizes == SIZES
