"""Size, brightness and source of image files."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from transferkit.evaluation.image_properties import brightness, shorter_sides, sources


def test_shorter_sides_of_rotated_and_broken_files(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (7, 9)).save(tmp_path / "b.tiff")
    (tmp_path / "c.jpg").write_bytes(b"no image")
    paths = [str(tmp_path / name) for name in ("a.jpg", "b.tiff", "c.jpg", "no such file.jpg")]
    assert shorter_sides(paths) == [20, 7, None, None]


def test_brightness_by_hand(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (255, 0, 0)).save(tmp_path / "red.png")
    Image.new("RGB", (30, 20), (100, 100, 100)).save(tmp_path / "gray.png")
    (tmp_path / "c.jpg").write_bytes(b"no image")
    red, gray, broken = brightness([str(tmp_path / name) for name in ("red.png", "gray.png", "c.jpg")])
    assert red == pytest.approx(0.299 * 255) and gray == pytest.approx(100) and broken is None


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["d/a/cat/1.jpg", "d/b/dog/2.jpg"], ["a", "b"]),
        (["d/cat/1.jpg", "d/dog/2.jpg"], [".", "."]),
        (["d/a/1.jpg", "d/2.jpg"], ["a", "."]),
        (["d/a/x/1.jpg", "d/a/y/2.jpg", "d/b/z/3.jpg"], ["a/x", "a/y", "b/z"]),
        (["1.jpg"], ["."]),
    ],
)
def test_sources_by_hand(paths: list[str], expected: list[str]) -> None:
    assert [Path(source).as_posix() for source in sources(paths, ["cat", "dog"])] == expected
