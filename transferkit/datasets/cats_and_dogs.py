"""The photographs of the well-known tutorial: cats and dogs, 2000 to train on and 1000 to validate."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from transferkit._utils.files import cache_home, lock
from transferkit.datasets.archive import unpack
from transferkit.datasets.download import download
from transferkit.errors import DownloadError

URL = "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip"
# The publisher gives no checksum; the size is known, and the contents are counted.
SIZE = 68_606_236
COUNTS = {"train/cats": 1000, "train/dogs": 1000, "validation/cats": 500, "validation/dogs": 500}
_INSIDE = "cats_and_dogs_filtered"


def cats_and_dogs(folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the cats-and-dogs photographs, downloading 68.6 MB the first time.

    Args:
        folder: where they are kept; by default "datasets" in the library's home.

    Returns:
        A folder with train/ and validation/, each with cats/ and dogs/.

    Raises:
        DownloadError: when they can be neither found nor fetched, or are not what they should be.

    Example:

    >>> tk.DatasetBuilder(tk.datasets.cats_and_dogs(), test=0.2).build()  # doctest: +SKIP

    Reference: https://www.tensorflow.org/tutorials/images/transfer_learning
    """
    target = Path(folder or cache_home() / "datasets") / _INSIDE
    with lock(target.with_name(f".{_INSIDE}.lock")):
        if _counts(target) == COUNTS:
            return target
        archive = download(URL, size=SIZE, folder=target.parent)
        unpacked = target.with_name(f".{_INSIDE}.unpacked")
        shutil.rmtree(unpacked, ignore_errors=True)
        unpack(archive, unpacked, max_files=10_000, max_bytes=500_000_000)
        try:
            _take_over(unpacked / _INSIDE, target)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        # The photographs are kept; the archive would take the same space again.
        archive.unlink(missing_ok=True)
    return target


def _take_over(found: Path, target: Path) -> None:
    counts = _counts(found)
    if counts != COUNTS:
        raise DownloadError(
            f"{URL} must hold {COUNTS} photographs. Received: {counts}. The publisher has changed it; give a folder of "
            "your own instead."
        )
    shutil.rmtree(target, ignore_errors=True)
    os.replace(found, target)


def _counts(folder: Path) -> dict[str, int]:
    return {part: sum(1 for _ in (folder / part).glob("*.jpg")) for part in COUNTS}
