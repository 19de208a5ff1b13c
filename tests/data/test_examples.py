"""Content hashes of a split: from the metadata of building, never of contents that are gone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from transferkit.data import Split, file_info
from transferkit.errors import ImageError
from transferkit.images import ImageSpec, content_hashes


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read for their digests after the data set was built."""
    names: list[str] = []

    def spy(paths: list[str]) -> list[bytes]:
        names.extend(map(os.path.basename, paths))
        return content_hashes(paths)

    monkeypatch.setattr(file_info, "content_hashes", spy)
    return names


def split_of_paths(paths: list[str]) -> Split:
    return Split("train", np.zeros(len(paths), np.int32), ImageSpec((16, 16)), paths=tuple(paths))


@pytest.mark.usefixtures("minute_later")
def test_content_hashes_read_only_replaced_files(folder: Path, read: list[str]) -> None:
    data = tk.DatasetBuilder(folder, image_size=16).build()
    split = data.splits["train"]
    before = split.content_hashes()
    assert before == content_hashes(split.paths) and read == []
    other = Path(split.paths[3])
    other.write_bytes(Path(split.paths[0]).read_bytes())
    assert split.content_hashes() == [*before[:3], before[0], *before[4:]]
    assert read == [other.name]


def test_content_hashes_read_recent_files(folder: Path, read: list[str]) -> None:
    split = tk.DatasetBuilder(folder, image_size=16).build().splits["train"]
    assert split.content_hashes() == content_hashes(split.paths)
    assert len(read) == len(split.paths)


@pytest.mark.usefixtures("minute_later")
def test_content_hashes_of_relative_paths(folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    split = tk.DatasetBuilder(folder, image_size=16).build().splits["train"]
    monkeypatch.chdir(folder)
    relative = [os.path.relpath(path, folder) for path in split.paths]
    assert split_of_paths(relative).content_hashes() == split.content_hashes()
    assert read == []
    with pytest.raises(ImageError, match="no such file"):
        split_of_paths([*relative, "none.jpg"]).content_hashes()


@pytest.mark.usefixtures("minute_later")
def test_content_hashes_of_many_files(tmp_path: Path, read: list[str]) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    from PIL import Image

    for number in range(1203):
        pixels[0, 0] = number % 256, number // 256, 0
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    paths = [str(tmp_path / f"{number}.png") for number in (*range(1202, -1, -1), 7, 7)]
    file_info.inspect_files(paths, ImageSpec((16, 16)), progress=False)
    assert split_of_paths(paths).content_hashes() == content_hashes(paths)
    assert read == []


def test_take_has_the_rows_of_everything() -> None:
    images = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    labels, weights = np.array([0, 1, 0, 1], np.int32), np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    taken = Split("train", labels, ImageSpec((2, 2)), images=images, weights=weights).take([3, 0])
    assert taken.labels.tolist() == [1, 0] and taken.weights is not None and taken.weights.tolist() == [4.0, 1.0]
    assert taken.images is not None and taken.images[:, 0, 0, 0].tolist() == [3, 0]
    assert split_of_paths(["a.jpg", "b.jpg"]).take([1]).paths == ("b.jpg",)


def test_take_of_a_dataset_raises() -> None:
    split = Split("train", np.zeros(0, np.int32), ImageSpec((2, 2)), dataset=object())
    with pytest.raises(ValueError, match="A split must have files or arrays. Received: a split of a tf.data.Dataset"):
        split.take([0])
