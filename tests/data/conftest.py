"""A small folder of class folders with synthetic images."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferkit.data import file_info


def write_jpeg(path: Path, seed: int) -> None:
    """Write a smooth JPEG that differs for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC).save(path, quality=90)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve cats and eight dogs."""
    root = tmp_path / "photos"
    for number in range(12):
        write_jpeg(root / "cats" / f"cat.{number}.jpg", number)
    for number in range(8):
        write_jpeg(root / "dogs" / f"dog.{number}.jpg", 100 + number)
    return root


@pytest.fixture
def minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is a minute ahead, so that the files of a test count as unchanged for a while."""
    clock = time.time_ns
    monkeypatch.setattr(file_info.time, "time_ns", lambda: clock() + 60 * 10**9)
