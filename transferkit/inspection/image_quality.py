"""Dark, bright, blurry and small images, and those of an unusual shape, compared with the other images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from transferkit._utils.parallel import ordered_map
from transferkit.errors import ImageError
from transferkit.images.loading import load_with_metadata
from transferkit.images.spec import ImageSpec
from transferkit.inspection.similarity import robust_scores

# Blur is compared at one size, because a large image has smoother pixels.
_SIZE, _CHUNK = 128, 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Beyond so many robust standard deviations, and beyond an absolute limit, below which nothing is wrong with an image.
_MAX_SCORE = 3.5
_DARK, _BRIGHT, _SMALL, _ODD_RATIO = 50.0, 205.0, 64.0, 2.0


class Quality(NamedTuple):
    """Measurements of one image.

    Attributes:
        brightness: mean gray value in [0, 255].
        sharpness: variance of the Laplacian of the gray image, resized to 128 pixels.
        side: shorter side in pixels.
        ratio: width over height.
    """

    brightness: float
    sharpness: float
    side: float
    ratio: float


class QualityIssue(NamedTuple):
    """An issue of one image: its position, name, value and robust score."""

    position: int
    issue: str
    value: float
    score: float


def measure_quality(sources: Sequence[Any]) -> list[Quality | None]:
    """Return the measurements of images, paths or arrays; None for one that cannot be read."""
    chunks = [list(sources[start : start + _CHUNK]) for start in range(0, len(sources), _CHUNK)]
    return [quality for chunk in ordered_map(_measure_chunk, chunks) for quality in chunk]


def _measure_chunk(sources: list[Any]) -> list[Quality | None]:
    loaded = load_with_metadata(sources, ImageSpec((_SIZE, _SIZE), antialias=True), with_thumbnail=False)
    return [None if isinstance(one, ImageError) else _measure(one.image, one.size) for one in loaded]


def _measure(image: np.ndarray, size: tuple[int, int]) -> Quality:
    gray = image.astype(np.float32) @ _LUMA
    laplacian = gray[1:-1, 2:] + gray[1:-1, :-2] + gray[2:, 1:-1] + gray[:-2, 1:-1] - 4 * gray[1:-1, 1:-1]
    height, width = size
    return Quality(float(gray.mean()), float(laplacian.var()), float(min(size)), width / height)


def find_quality_issues(qualities: Sequence[Quality | None]) -> list[QualityIssue]:
    """Return the issues of images, those farthest from the other images first."""
    known = [index for index, quality in enumerate(qualities) if quality is not None]
    if not known:
        return []
    table = np.array([qualities[index] for index in known], float).reshape(-1, 4)
    brightness, sharpness, side, ratio = table.T
    # Logarithms, because half and twice the median are equally unusual.
    checks = [
        ("dark", brightness, -robust_scores(brightness), brightness < _DARK),
        ("bright", brightness, robust_scores(brightness), brightness > _BRIGHT),
        ("blurry", sharpness, -robust_scores(np.log(sharpness + 1)), np.full(len(known), True)),
        ("small", side, -robust_scores(np.log(side)), side < _SMALL),
        ("odd aspect ratio", ratio, np.abs(robust_scores(np.log(ratio))), np.abs(np.log(ratio)) > math.log(_ODD_RATIO)),
    ]
    issues = []
    for name, values, scores, beyond_limit in checks:
        for position in np.flatnonzero((scores > _MAX_SCORE) & beyond_limit):
            issues.append(QualityIssue(known[position], name, float(values[position]), float(scores[position])))
    return sorted(issues, key=lambda issue: -issue.score)
