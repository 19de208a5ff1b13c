"""Perceptual hashes, which are close for images that look alike."""

from __future__ import annotations

import numpy as np

# Size of the gray thumbnail that is hashed, and samples per cell and axis.
THUMBNAIL_SHAPE, SAMPLES_PER_CELL = (8, 9), 8
# Gray levels between the darkest and the brightest cell; flatter images cannot be distinguished.
_MIN_CONTRAST = 12.0


def difference_hash(thumbnail: np.ndarray) -> int | None:
    """Return 64 bits: whether each cell of a gray thumbnail (8, 9) is darker than its right neighbor; None if flat.

    Scaling, recompressing and brightening an image change few of them.
    Reference: Krawetz, "Kind of Like That", hackerfactor.com, 2013.

    >>> difference_hash(np.zeros((8, 9)))
    >>> difference_hash(np.tile(np.arange(9) * 10.0, (8, 1))) == 2**64 - 1
    True
    """
    if float(np.ptp(thumbnail)) < _MIN_CONTRAST:
        return None
    return int.from_bytes(np.packbits(thumbnail[:, 1:] > thumbnail[:, :-1]).tobytes(), "big")
