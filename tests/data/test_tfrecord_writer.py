"""Writing TFRecord files where the disk does not allow it."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from transferkit.data import DatasetBuilder, write_tfrecord
from transferkit.errors import StorageError


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Limit every file to two thousand bytes, which has the effect of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_write_tfrecord_on_full_disk_keeps_old_file(folder: Path, tmp_path: Path, full_disk: None) -> None:
    data = DatasetBuilder(folder, image_size=16, progress=False).build()
    target = tmp_path / "out" / "photos.tfrecord"
    target.parent.mkdir()
    target.write_bytes(b"before")
    with pytest.raises(StorageError, match=r"photos\.tfrecord' must be writable.*Free disk space") as caught:
        write_tfrecord(data, target)
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert [path.name for path in target.parent.iterdir()] == [target.name] and target.read_bytes() == b"before"
