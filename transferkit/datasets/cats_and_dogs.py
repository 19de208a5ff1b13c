"""The cats-and-dogs dataset of the TensorFlow tutorial: 2000 training and 1000 validation images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from transferkit._utils.files import cache_home, lock
from transferkit.datasets.archive import unpack
from transferkit.datasets.download import download
from transferkit.errors import DownloadError

URL = "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip"
# No checksum is published, so the size and the numbers of images are verified.
SIZE = 68_606_236
COUNTS = {"train/cats": 1000, "train/dogs": 1000, "validation/cats": 500, "validation/dogs": 500}
_ROOT = "cats_and_dogs_filtered"


def cats_and_dogs(folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the cats-and-dogs dataset; the first call downloads 68.6 MB.

    Args:
        folder: path of the folder that contains the dataset. Defaults to "datasets" in the cache folder.

    Returns:
        The path of a folder with train/ and validation/, each with cats/ and dogs/.

    Raises:
        DownloadError: if the download fails, or does not contain the expected images.

    Example:

    >>> tk.DatasetBuilder(tk.datasets.cats_and_dogs(), test=0.2).build()  # doctest: +SKIP

    Reference: https://www.tensorflow.org/tutorials/images/transfer_learning
    """
    target = Path(folder or cache_home() / "datasets") / _ROOT
    with lock(target.with_name(f".{_ROOT}.lock")):
        if _counts(target) == COUNTS:
            return target
        archive = download(URL, size=SIZE, folder=target.parent)
        staging = target.with_name(f".{_ROOT}.unpacked")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            found = unpack(archive, staging, max_files=10_000, max_bytes=500_000_000) / _ROOT
            if _counts(found) != COUNTS:
                received = f"{_counts(found)}. The published file has changed; use another dataset"
                raise DownloadError(f"{URL} must contain {COUNTS} images. Received: {received}.")
            shutil.rmtree(target, ignore_errors=True)
            os.replace(found, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        archive.unlink(missing_ok=True)
    return target


def _counts(folder: Path) -> dict[str, int]:
    return {name: sum(1 for _ in (folder / name).glob("*.jpg")) for name in COUNTS}
