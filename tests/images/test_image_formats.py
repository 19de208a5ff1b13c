"""One test for each row of the table of formats and edge cases in docs/data.md."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.images.image_corpus import image_corpus, sample_image, stored_as
from transferkit.errors import ImageError
from transferkit.images import ImageSpec, image_dataset, load_image, read_image

DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def refuse(*_):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("name", image_corpus())
def test_read_image_of_each_format(name, tmp_path, monkeypatch):
    oddity = image_corpus()[name]
    path = oddity.put(tmp_path)
    if name == "unreadable file" and os.access(path, os.R_OK):
        # Whoever runs this may read every file; then the system is asked to refuse.
        monkeypatch.setattr("transferkit.images.files.os.open", refuse)
    if oddity.shows is None:
        with pytest.raises(ImageError, match=re.escape(oddity.reason)) as caught:
            read_image(path)
        assert str(path) == caught.value.path
        return
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape == oddity.shows.shape
    apart = np.abs(image.astype(int) - oddity.shows).mean()
    assert apart <= oddity.tolerance
    # The pipeline, which reads many files at once, gives what one call gives.
    spec = ImageSpec((20, 24))
    alone = load_image(path, spec)
    assert np.array_equal(alone, load_image(image, spec))
    assert np.array_equal(alone, next(iter(image_dataset([os.fspath(path)], spec))).numpy())


def test_docs_list_each_format():
    table = DOCS.read_text(encoding="utf-8").split("## Supported formats and edge cases")[1].split("\n## ")[0]
    written = {row[0] for row in re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", table, re.MULTILINE)}
    written -= {"file", "---"}
    expected = {re.sub(r"of orientation \d", "of orientation 1 to 8", name) for name in image_corpus()}
    assert written == expected


@pytest.mark.parametrize("size", [(30, 40), (40, 30)])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_load_image_of_each_orientation_is_equal(tmp_path, size, resize):
    spec = ImageSpec(size, resize=resize, crop_fraction=0.9)
    expected = load_image(sample_image(), spec)
    for number in range(1, 9):
        path = image_corpus()[f"PNG of orientation {number}"].put(tmp_path)
        assert np.array_equal(load_image(path, spec), expected), number
    assert stored_as(6).shape == (64, 48, 3)
