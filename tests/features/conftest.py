"""Splits for the tests of feature extraction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from transferkit.data.examples import Split
from transferkit.images.spec import ImageSpec

SPEC = ImageSpec((48, 48))


def split_of_files(paths: Sequence[Path | str]) -> Split:
    return Split("train", np.zeros(len(paths), np.int32), SPEC, paths=tuple(map(str, paths)))


@pytest.fixture
def split(synthetic: Path) -> Split:
    return split_of_files(sorted(synthetic.glob("train/*/*.jpg")))
