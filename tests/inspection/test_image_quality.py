"""Dark, bright, blurry, small and oddly shaped images."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.inspection.image_quality import find_quality_issues, measure_quality


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Forty noisy images of slightly different brightness."""
    generator = np.random.default_rng(0)
    shape = (160, 150, 3)
    return [np.clip(generator.normal(110 + index, 40, shape), 0, 255).astype(np.uint8) for index in range(40)]


def issues_of(images: list[np.ndarray]) -> list[tuple[int, str]]:
    return [(issue.position, issue.issue) for issue in find_quality_issues(measure_quality(images))]


def test_measure_quality_by_hand():
    image = np.zeros((128, 128, 3), np.uint8)
    image[64, 64] = 100
    [quality] = measure_quality([image])
    laplacian = np.zeros((126, 126))
    laplacian[63, 63], laplacian[[62, 64], 63], laplacian[63, [62, 64]] = -400, 100, 100
    assert quality is not None
    assert quality.brightness == pytest.approx(100 / 128**2, rel=1e-4)
    assert quality.sharpness == pytest.approx(laplacian.var(), rel=1e-4)
    assert (quality.side, quality.ratio) == (128, 1)


@pytest.mark.parametrize("issue", ["dark", "bright", "blurry", "small", "odd aspect ratio"])
def test_find_quality_issues_finds_one(images, issue):
    normal = images[5]
    changed = {
        "dark": (normal / 20).astype(np.uint8),
        "bright": (255 - normal / 20).astype(np.uint8),
        "blurry": np.full_like(normal, 120) + np.arange(150, dtype=np.uint8)[None, :, None] // 30,
        "small": normal[:40, :38],
        "odd aspect ratio": normal[:40],
    }
    found = issues_of([*images[:20], changed[issue], *images[20:]])
    assert (20, issue) in found and {position for position, _ in found} == {20}


def test_find_quality_issues_of_equal_images(images):
    assert issues_of(images) == []
    assert find_quality_issues([]) == [] and find_quality_issues([None]) == []


def test_measure_quality_of_unreadable_file(tmp_path, images):
    (tmp_path / "a.jpg").write_bytes(b"<html>")
    first, second = measure_quality([str(tmp_path / "a.jpg"), images[0]])
    assert first is None and second is not None
    assert find_quality_issues([None, *measure_quality([*images, (images[0] / 20).astype(np.uint8)])])[0].position == 41
