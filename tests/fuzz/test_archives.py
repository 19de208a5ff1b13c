"""Mutated archives: they are unpacked within their folder, or refused with an error of the library and no trace."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

import transferkit as tk
from tests.fuzz.limits import memory_limit, time_limit
from tests.fuzz.mutator import case_count, generator, mutate
from tests.images.image_corpus import encode, sample_image
from transferkit.datasets import unpack
from transferkit.errors import DataError, StorageError

_COUNT = 4
# Every so many archives, the data set is built too.
_BUILD_EVERY = 20
EXTENSIONS = (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")


def members() -> dict[str, bytes]:
    return {
        f"photos/{label}/{number}.png": encode(sample_image() // (number + 1), "PNG")
        for label in ("cats", "dogs")
        for number in range(_COUNT)
    }


def archive(extension: str) -> bytes:
    contents = io.BytesIO()
    if extension == ".zip":
        with zipfile.ZipFile(contents, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in members().items():
                packed.writestr(name, data)
    else:
        compression = extension.removeprefix(".tar").removeprefix(".")
        with tarfile.open(fileobj=contents, mode=f"w:{compression}") as packed:  # type: ignore[call-overload]
            for name, data in members().items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                packed.addfile(member, io.BytesIO(data))
    return contents.getvalue()


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_mutated_archive_is_unpacked_or_refused(tmp_path: Path, extension: str) -> None:
    seed, rng, stage = archive(extension), generator(2), tmp_path / "stage"
    stage.mkdir()
    path = stage / f"photos{extension}"
    path.write_bytes(seed)
    # Without a limit: the first build imports packages and starts processes.
    check_build(path, intact=True)
    with memory_limit():
        for number in range(case_count(200)):
            path.write_bytes(mutate(seed, rng))
            with time_limit():
                check_unpack(path, tmp_path / "unpacked" / str(number))
                if number % _BUILD_EVERY == 0:
                    check_build(path)
    # Nothing was written next to the archive or the unpacked folders.
    assert {entry.name for entry in tmp_path.iterdir()} <= {"stage", "unpacked"}
    assert [entry.name for entry in stage.iterdir()] == [path.name]


def check_unpack(path: Path, folder: Path) -> None:
    try:
        unpack(path, folder)
    except (DataError, StorageError):
        assert not folder.exists() and not (folder.parent.exists() and [*folder.parent.glob(f".{folder.name}.*")])
        return
    found = list(folder.rglob("*"))
    assert not any(entry.is_symlink() for entry in found)
    assert all(entry.is_file() or entry.is_dir() for entry in found)
    if path.suffix != ".tar":
        # A checksum covers each file; a .tar has none for contents.
        whole = set(members().values())
        assert all(entry.read_bytes() in whole for entry in found if entry.is_file() and entry.stat().st_size)


def check_build(path: Path, *, intact: bool = False) -> None:
    try:
        data = tk.DatasetBuilder(path, image_size=16, max_skipped_fraction=1, progress=False).build()
    except (DataError, StorageError):
        assert not intact
        return
    count = sum(map(len, data.splits.values()))
    assert count == 2 * _COUNT if intact else count <= 2 * _COUNT
