"""Image specs: JSON round trip, cache keys and bad values."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.errors import ImageError
from transferkit.images.loading import load_image
from transferkit.images.spec import ImageSpec

SPEC = ImageSpec((24, 32))


def test_image_spec_round_trip_and_bad_values():
    spec = ImageSpec(160, resize="crop", crop_fraction=0.875, antialias=True)
    assert ImageSpec.from_dict(spec.to_dict()) == spec and spec.image_size == (160, 160)
    others = [ImageSpec((160, 161)), ImageSpec((160, 160), full_decode=True), ImageSpec((160, 160), antialias=True)]
    assert len({one.cache_key() for one in [spec, *others]}) == 4
    with pytest.raises(ValueError, match=r"`crop_fraction` must be in \(0, 1\]. Received: 0"):
        ImageSpec((160, 160), crop_fraction=0)
    with pytest.raises(ValueError, match="Did you mean 'bilinear'"):
        ImageSpec((160, 160), interpolation="bilinar")
    with pytest.raises(ImageError, match=r"\(height, width, 3\), not \(4, 4, 2\)"):
        load_image(np.zeros((4, 4, 2)), SPEC)
