"""Colors of images of unusual modes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.images.image_corpus import gray_tiff
from transferkit.images.rgb import to_rgb


def test_unsigned_values_of_32_bits_equal_floats() -> None:
    # Pillow takes them for signed ones, so that values above 2 ** 31 would be black.
    values = np.linspace(0, 2**32 - 1, 64 * 48).reshape(48, 64).astype(np.uint32)
    found, expected = (
        to_rgb(Image.open(io.BytesIO(gray_tiff(stored)))).astype(int) for stored in (values, values.astype(np.float32))
    )
    assert np.abs(found - expected).max() <= 1 and found[0, 0, 0] == 0 and found[-1, -1, 0] == 255
    assert (np.diff(found[..., 0].ravel()) >= 0).all()


def test_separate_planes_of_16_bits_raise() -> None:
    image = Image.new("RGB", (2, 2))
    image.tag_v2 = {284: 2, 258: (8, 8, 8)}  # type: ignore[attr-defined]
    assert to_rgb(image).shape == (2, 2, 3)
    image.tag_v2[258] = (16, 16, 16)  # type: ignore[attr-defined]
    with pytest.raises(
        ValueError, match="it has planes of more than 8 bits; save it with the colors of each pixel next"
    ):
        to_rgb(image)
