"""EXIF orientations."""

from __future__ import annotations

import numpy as np
import pytest

from tests.images.image_corpus import sample_image, stored_as
from transferkit.images.orientation import apply_exif_orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_apply_exif_orientation_turns_upright(orientation: int) -> None:
    assert np.array_equal(apply_exif_orientation(stored_as(orientation), orientation), sample_image())
