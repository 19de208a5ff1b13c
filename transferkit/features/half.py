"""Features in half the space: float16 instead of float32."""

from __future__ import annotations

import sys

import numpy as np

FEATURE_DTYPES = ("float32", "float16")
_LARGEST = float(np.finfo(np.float16).max)


def to_storage_dtype(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return features as they are kept: float32 as they are, or rounded to float16.

    Features beyond the range of float16, which are rare after pooling, are clipped to its ends with a note: an
    infinity would spoil the training without a word, and an error would throw away what took long to compute.

    Args:
        array: features; only float32 is ever made smaller.
        dtype: "float32" or "float16".

    >>> to_storage_dtype(np.array([1.5, -1e6], np.float32), "float16").tolist()
    [1.5, -65504.0]
    """
    if dtype == "float32" or array.dtype != np.float32:
        return array
    beyond = int(np.count_nonzero((array > _LARGEST) | (array < -_LARGEST)))
    if beyond:
        print(
            f"transferkit: {beyond:,} features of {array.size:,} are beyond float16 and clipped to {_LARGEST:,.0f}; "
            "use feature_dtype='float32' to keep them",
            file=sys.stderr,
        )
        array = np.clip(array, -_LARGEST, _LARGEST)
    return array.astype(np.float16)
