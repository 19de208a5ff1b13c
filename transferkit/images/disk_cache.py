"""On-disk cache of decoded and resized images, for large images that are trained on repeatedly."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from transferkit._utils.cache_limit import evict, mark_used
from transferkit._utils.files import atomic_folder, cache_home, lock
from transferkit._utils.progress import track
from transferkit.errors import StorageError
from transferkit.images.loading import image_batches, load_image
from transferkit.images.spec import ImageSpec

_VERSION = 1
_BATCH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class DiskImageCache:
    """The images of a list of files, memory-mapped, each with a checksum.

    Attributes:
        images: uint8 (rows, height, width, 3).
        checksums: uint32 (rows,). CRC-32 of each row.
        rows: int64 (files,). The row of each file.
        paths: the files, which are read where a row is damaged.
        image_spec: how files become images.
    """

    images: np.ndarray
    checksums: np.ndarray
    rows: np.ndarray
    paths: Sequence[str]
    image_spec: ImageSpec

    def read(self, index: int) -> np.ndarray:
        """Return the image of a file, from the cache or, where that is damaged, from the file.

        Raises:
            ImageError: when neither can be read.
        """
        row = self.rows[index]
        image = np.array(self.images[row])
        if zlib.crc32(image.data) == self.checksums[row]:
            return image
        return load_image(self.paths[index], self.image_spec)


def open_disk_cache(
    paths: Sequence[str], digests: Sequence[bytes], image_spec: ImageSpec, *, progress: bool = True
) -> DiskImageCache:
    """Return the cached images of readable `paths`, decoding them first where necessary.

    The name of the cache is made from the contents of the files (`digests`) and from `image_spec`: it is never stale.
    A second process that needs the same cache waits until the first has written it.
    """
    first = {digest: index for index, digest in reversed(list(enumerate(digests)))}
    unique = sorted(first)
    rows = {digest: row for row, digest in enumerate(unique)}
    salt = hashlib.blake2b(f"{_VERSION}:{image_spec.cache_key()}".encode(), digest_size=16).digest()
    name = hashlib.blake2b(b"".join(unique), digest_size=16, person=b"images", salt=salt).hexdigest()
    folder = cache_home() / "images" / name
    shape = len(unique), *image_spec.image_size, 3
    if (found := _open(folder, shape)) is None:
        with lock(folder.with_suffix(".lock")):
            # Another process may have written it while this one waited.
            if _open(folder, shape) is None:
                files = [paths[first[digest]] for digest in unique]
                _write(folder, shape, image_batches(files, image_spec, batch_size=_BATCH), progress)
            evict(keep={folder})
            found = _open(folder, shape)
        if found is None:
            raise StorageError(
                errno.EIO,
                f"{str(folder)!r} must be readable. Received: other files than were written a moment ago. Set "
                "TRANSFERKIT_HOME to another disk, or use cache_images=False.",
            )
    else:
        mark_used(folder)
    return DiskImageCache(*found, np.array([rows[digest] for digest in digests], np.int64), tuple(paths), image_spec)


def _open(folder: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        images = np.lib.format.open_memmap(folder / "images.npy", mode="r")
        checksums = np.load(folder / "checksums.npy", allow_pickle=False)
    except Exception:
        # NumPy's parser raises many kinds of errors for damaged files, even those of its tokenizer.
        return None
    valid = images.shape == shape and images.dtype == np.uint8
    valid = valid and checksums.shape == shape[:1] and checksums.dtype == np.uint32
    return (images, checksums) if valid else None


def _write(folder: Path, shape: tuple[int, ...], batches: Iterator[np.ndarray], progress: bool) -> None:
    checksums = np.zeros(shape[0], np.uint32)
    with atomic_folder(folder) as temporary:
        # Not through a memory map: there a full disk ends the process instead of raising an error.
        with open(temporary / "images.npy", "wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start = 0
            for batch in track(batches, -(-shape[0] // _BATCH), "Caching images", enabled=progress):
                file.write(batch.data)
                checksums[start : start + len(batch)] = [zlib.crc32(image.data) for image in batch]
                start += len(batch)
        np.save(temporary / "checksums.npy", checksums)
