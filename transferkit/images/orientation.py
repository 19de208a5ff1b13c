"""EXIF orientations."""

from __future__ import annotations

import numpy as np

# Orientation -> whether rows and columns are reversed; from 5 on the axes are exchanged afterwards.
ORIENTATION_FLIPS = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}


def apply_exif_orientation(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return an image (height, width, 3) turned upright according to its EXIF orientation, 1 to 8.

    >>> apply_exif_orientation(np.arange(6).reshape(1, 2, 3), 6)[:, 0].tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    rows, columns = ORIENTATION_FLIPS[orientation]
    image = image[::-1] if rows else image
    image = image[:, ::-1] if columns else image
    return image.swapaxes(0, 1) if orientation >= 5 else image
