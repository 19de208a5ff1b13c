"""The interface of the images of a job: shards that each worker reads by itself."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from transferkit.sharding.manifest import Manifest


class Part(NamedTuple):
    """Some images of a shard, which are decoded together.

    Attributes:
        rows: their paths and labels.
        images: bytes, a local path, or an OSError for each.
    """

    rows: Manifest
    images: Sequence[Any]


class Source(abc.ABC):
    """The images of a job, in a fixed order and in shards.

    Attributes:
        kind: name of the class in the file that describes a source for other processes.
        num_rows: number of images; None where it is known only when all were read.
        expected_rows: the same, or an estimate from which an engine is chosen.
        num_shards: number of shards.
        shard_size: number of images per shard; None where shards have different sizes.
    """

    kind: str
    num_rows: int | None
    expected_rows: int
    num_shards: int
    shard_size: int | None

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return digits that differ for other images, labels, or another order."""

    @abc.abstractmethod
    def size_of(self, number: int) -> int | None:
        """Return the number of images of a shard; None where it is not known."""

    @abc.abstractmethod
    def parts(self, number: int) -> Iterator[Part]:
        """Yield the images of a shard, each time in the same parts.

        Raises:
            ShardError: when they cannot be read.
        """

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON from which `from_dict` creates an equal source."""

    @classmethod
    @abc.abstractmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Source:
        """Return the source that `to_dict` described."""
