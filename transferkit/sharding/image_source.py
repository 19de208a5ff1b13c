"""Files of images as the source of a job: shards of a fixed number of images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transferkit._utils.parallel import ordered_map
from transferkit.sharding.manifest import Manifest
from transferkit.sharding.source import Part, Source
from transferkit.sharding.storage import is_url, read_file


class ImageSource(Source):
    """A list of images.

    Args:
        manifest: the images.
        shard_size: number of images per shard.
    """

    kind = "images"

    def __init__(self, manifest: Manifest, shard_size: int) -> None:
        self._manifest = manifest
        self.num_rows: int = len(manifest)
        self.expected_rows: int = len(manifest)
        self.num_shards: int = -(-len(manifest) // shard_size)
        self.shard_size: int = shard_size

    def fingerprint(self) -> str:
        """Return digits that differ for other images, labels, or another order."""
        return self._manifest.fingerprint()

    def size_of(self, number: int) -> int:
        """Return the number of images of a shard."""
        start = number * self.shard_size
        return min(start + self.shard_size, self.num_rows) - start

    def parts(self, number: int) -> Iterator[Part]:
        """Yield the images of a shard as one part."""
        start = number * self.shard_size
        rows = self._manifest.rows(start, start + self.shard_size)
        yield Part(rows, _images(rows.paths))

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON from which `from_dict` creates an equal source."""
        return {"paths": self._manifest.paths, "labels": self._manifest.labels, "shard_size": self.shard_size}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageSource:
        """Return the source that `to_dict` described."""
        labels = values["labels"]
        manifest = Manifest(tuple(values["paths"]), None if labels is None else tuple(labels))
        return cls(manifest, values["shard_size"])


def _images(paths: Sequence[str]) -> list[Any]:
    """Return the bytes of URLs, or the error of each that cannot be reached; local paths are read when decoded."""

    def image(path: str) -> Any:
        if not is_url(path):
            return path
        with contextlib.suppress(FileNotFoundError):
            try:
                return read_file(path)
            except FileNotFoundError:
                raise
            except OSError as error:
                return error
        return OSError("there is no such file")

    return list(ordered_map(image, paths)) if any(map(is_url, paths)) else list(paths)
