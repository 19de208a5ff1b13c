"""Decoded, resized images on disk: for collections that are trained on often and take long to decode."""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transferkit._utils.files import atomic_folder, cache_home, lock
from transferkit._utils.progress import track
from transferkit.images.loading import ImageSpec, image_batches, load_image

_VERSION = 1
_BATCH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class DiskImageCache:
    """The images of one collection of files, memory-mapped, each with a checksum.

    Attributes:
        images: uint8 (rows, height, width, 3).
        sums: uint32 (rows,), CRC-32 of each row.
        rows: the row of each file.
        paths: the files, to which it falls back where a row was damaged.
        image_spec: how files become images.
    """

    images: np.ndarray
    sums: np.ndarray
    rows: np.ndarray
    paths: Sequence[str]
    image_spec: ImageSpec

    def read(self, number: int) -> np.ndarray:
        """Return the image of a file, from the store, or from the file where the store is damaged.

        Raises:
            ImageError: when neither can be read.
        """
        row = self.rows[number]
        image = np.array(self.images[row])
        if zlib.crc32(image.data) == self.sums[row]:
            return image
        return load_image(self.paths[number], self.image_spec)


def open_disk_cache(
    paths: Sequence[str], digests: Sequence[bytes], pixels: ImageSpec, *, progress: bool = True
) -> DiskImageCache:
    """Return the stored images of `paths`, decoding them now if that was not done before.

    The store's name is made of the contents of the files and of `pixels`, so it is never stale. A second process
    that wants the same store waits until the first has written it, and then reads it.

    Args:
        paths: readable files.
        digests: 32 bytes for each that stand for its contents.
        pixels: how files become images.
        progress: whether a bar is shown while many files are decoded.

    Raises:
        ImageError: for the first file that cannot be read.
    """
    first = {digest: number for number, digest in reversed(list(enumerate(digests)))}
    unique = sorted(first)
    rows = {digest: row for row, digest in enumerate(unique)}
    name = hashlib.blake2b(b"".join(unique), digest_size=16, person=b"pixels", salt=_salt(pixels)).hexdigest()
    folder = cache_home() / "pixels" / name
    shape = len(unique), *pixels.image_size, 3
    if (found := _opened(folder, shape)) is None:
        with lock(folder.with_suffix(".lock")):
            # Another process may have written it while this one waited.
            if _opened(folder, shape) is None:
                _write(folder, shape, [paths[first[digest]] for digest in unique], pixels, progress)
        found = _opened(folder, shape)
    assert found is not None
    return DiskImageCache(*found, np.array([rows[digest] for digest in digests], np.int64), tuple(paths), pixels)


def _salt(pixels: ImageSpec) -> bytes:
    return hashlib.blake2b(f"{_VERSION}:{pixels.cache_key()}".encode(), digest_size=16).digest()


def _opened(folder: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        sums = np.load(folder / "sums.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    good = images.shape == shape and images.dtype == np.uint8 and sums.shape == shape[:1] and sums.dtype == np.uint32
    return (images, sums) if good else None


def _write(folder: Path, shape: tuple[int, ...], paths: list[str], pixels: ImageSpec, progress: bool) -> None:
    sums = np.zeros(shape[0], np.uint32)
    with atomic_folder(folder) as temporary:
        images = np.lib.format.open_memmap(temporary / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        batches = image_batches(paths, pixels, batch_size=_BATCH)
        for number, batch in enumerate(track(batches, -(-len(paths) // _BATCH), "Storing images", shown=progress)):
            start = number * _BATCH
            images[start : start + len(batch)] = batch
            sums[start : start + len(batch)] = [zlib.crc32(image.data) for image in batch]
        images.flush()
        # On some systems a folder cannot be renamed while a file in it is mapped.
        del images
        np.save(temporary / "sums.npy", sums)
