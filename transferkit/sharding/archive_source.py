"""Archives as the source of a job: each is one shard, and is read once from its start to its end."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from transferkit._utils.hashing import fingerprint
from transferkit.datasets.archive_formats import UnsafeArchive
from transferkit.errors import ShardError
from transferkit.sharding.archive_image import ArchiveImage
from transferkit.sharding.archives import Archive, is_tfrecord
from transferkit.sharding.manifest import Manifest
from transferkit.sharding.source import Part, Source
from transferkit.sharding.streams import StreamError, open_stream, stream_size, with_restarts
from transferkit.sharding.tar_images import tar_images
from transferkit.sharding.tfrecord_images import tfrecord_images

# A part has so many images or bytes, whichever comes first: enough for all cores, and little memory.
_PART_IMAGES, _PART_BYTES = 256, 64 << 20
# Of a typical photograph, for an estimate.
_IMAGE_BYTES = 100_000


class ArchiveSource(Source):
    """A list of archives.

    Args:
        archives: in the order of the shards.
    """

    kind = "archives"

    def __init__(self, archives: Sequence[Archive]) -> None:
        self._archives = tuple(archives)
        self.num_rows: int | None = None
        self.expected_rows: int = max(1, sum(archive.size for archive in archives) // _IMAGE_BYTES)
        self.num_shards: int = len(archives)
        self.shard_size: int | None = None

    def fingerprint(self) -> str:
        """Return digits that differ for archives with other paths or sizes, or in another order."""
        return fingerprint(self.kind, tuple(map(tuple, self._archives)))

    def size_of(self, number: int) -> None:
        """Return None: the number of images of an archive is known when all of it was read."""

    def parts(self, number: int) -> Iterator[Part]:
        """Yield the images of an archive in parts; reading begins again where a request fails.

        Raises:
            ShardError: when the archive cannot be read, is damaged, or has no images.
        """
        archive = self._archives[number]
        try:
            yield from with_restarts(functools.partial(_read, archive))
        except OSError as error:
            raise ShardError(
                f"An archive must be readable. Received: {archive.path!r} ({error}). Check the path and the network, "
                "and run the same call again."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON from which `from_dict` creates an equal source."""
        return {"archives": self._archives}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ArchiveSource:
        """Return the source that `to_dict` described."""
        return cls([Archive(*archive) for archive in values["archives"]])


def _read(archive: Archive) -> Iterator[Part]:
    count = 0
    with open_stream(archive.path) as stream:
        if stream_size(stream) != archive.size:
            raise ShardError(
                f"An archive must not change during a job. Received: {archive.path!r}, which no longer has "
                f"{archive.size:,} bytes. Choose another folder as `out`."
            )
        images = tfrecord_images(stream, archive) if is_tfrecord(archive.path) else tar_images(stream, archive)
        try:
            for part in _parts(images):
                yield part
                count += len(part.rows)
        except (StreamError, ShardError):
            raise
        except UnsafeArchive as error:
            raise ShardError(f"An archive must be safe. Received: {archive.path!r}: {error}. Leave it out.") from error
        except Exception as error:  # For damaged data, the readers raise errors of many kinds
            raise _damaged(archive, count, error) from error
    if not count:
        raise ShardError(f"An archive must have images. Received: {archive.path!r}, with none. Leave it out.")


def _damaged(archive: Archive, count: int, error: Exception) -> ShardError:
    return ShardError(
        f"An archive must be complete. Received: {archive.path!r}, which is damaged after {count:,} images "
        f"({str(error) or type(error).__name__}). Download it again."
    )


def _parts(images: Iterable[ArchiveImage]) -> Iterator[Part]:
    part: list[ArchiveImage] = []
    size = 0
    for image in images:
        part.append(image)
        size += len(image.image) if isinstance(image.image, bytes) else 0
        if len(part) == _PART_IMAGES or size >= _PART_BYTES:
            yield _part(part)
            part, size = [], 0
    if part:
        yield _part(part)


def _part(images: Sequence[ArchiveImage]) -> Part:
    paths, labels, contents = zip(*images)
    return Part(Manifest(paths, labels), contents)
