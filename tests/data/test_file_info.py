"""Metadata of single files."""

from __future__ import annotations

import os

import numpy as np

from tests.images.image_corpus import encode
from transferkit.data.file_info import inspect_files
from transferkit.images.spec import ImageSpec


def test_inspect_files_returns_metadata(folder):
    path = str(folder / "cats" / "cat.0.jpg")
    (fact,) = inspect_files([path], ImageSpec((16, 16)))
    assert (fact.format, fact.height, fact.width, fact.error) == ("jpeg", 60, 80, None)
    assert fact.num_bytes == os.path.getsize(path) and len(fact.digest) == 32 and fact.perceptual_hash is not None
    flat = folder / "cats" / "flat.png"
    flat.write_bytes(encode(np.full((40, 40, 3), 90, np.uint8), "PNG"))
    assert inspect_files([str(flat)], ImageSpec((16, 16)))[0].perceptual_hash is None
