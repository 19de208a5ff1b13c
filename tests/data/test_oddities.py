"""One test for each row of the table of oddities in docs/data.md."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.data.odd_files import oddities, picture, stored_as
from transferkit.errors import ImageError
from transferkit.images.loading import ImageSpec, image_dataset, load_image
from transferkit.images.pillow_decoder import read_image

DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def refuse(*_):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("name", oddities())
def test_each_oddity_is_read_rightly_or_refused_with_a_reason(name, tmp_path, monkeypatch):
    oddity = oddities()[name]
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


def test_every_row_is_in_the_docs_and_every_row_of_the_docs_is_tested():
    table = DOCS.read_text(encoding="utf-8").split("## Oddities")[1].split("\n## ")[0]
    written = {row[0] for row in re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", table, re.MULTILINE)}
    written -= {"file", "---"}
    expected = {re.sub(r"of orientation \d", "of orientation 1 to 8", name) for name in oddities()}
    assert written == expected


@pytest.mark.parametrize("size", [(30, 40), (40, 30)])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_all_orientations_of_one_photo_give_the_same_pixels(tmp_path, size, resize):
    spec = ImageSpec(size, resize=resize, crop_fraction=0.9)
    expected = load_image(picture(), spec)
    for number in range(1, 9):
        path = oddities()[f"PNG of orientation {number}"].put(tmp_path)
        assert np.array_equal(load_image(path, spec), expected), number
    assert stored_as(6).shape == (64, 48, 3)
