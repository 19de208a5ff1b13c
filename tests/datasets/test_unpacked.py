"""Archives in the cache folder: unpacked once, and again where the contents are not those of the archive."""

from __future__ import annotations

import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

import transferkit as tk
from transferkit.datasets import unpacked as module
from transferkit.datasets.unpacked import unpacked


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("cats/a.jpg", "cats/b.jpg", "dogs/c.jpg"):
            file.writestr(name, name)
    return path


@pytest.fixture
def unpackings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The archives that were unpacked."""
    found: list[Path] = []
    extract = module.extract

    def counting(source: Path, target: Path) -> None:
        found.append(source)
        extract(source, target)

    monkeypatch.setattr(module, "extract", counting)
    return found


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_unpacked_once(archive: Path, own_home: Path, unpackings: list[Path]) -> None:
    folder = unpacked(archive)
    assert folder.parent == own_home / "unpacked"
    assert files(folder) == {name: name for name in ("cats/a.jpg", "cats/b.jpg", "dogs/c.jpg")}
    copy = Path(shutil.copy(archive, archive.with_name("copy.zip")))
    assert unpacked(archive) == unpacked(copy) == folder
    assert unpackings == [archive]
    # Nothing else remains.
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name, f"{folder.name}.json"]


@pytest.mark.parametrize("change", ["deleted", "edited", "added", "renamed", "note", "damaged_note"])
def test_unpacked_again_after_change(archive: Path, unpackings: list[Path], change: str) -> None:
    folder = unpacked(archive)
    intact, file, note = files(folder), folder / "cats/a.jpg", folder.with_suffix(".json")
    if change == "deleted":
        file.unlink()
    elif change == "edited":
        # A file of the same size and time of modification.
        status = file.stat()
        file.write_text("CATS/a.jpg")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "added":
        (folder / "cats/d.jpg").touch()
    elif change == "renamed":
        (folder / "cats").rename(folder / "birds")
    elif change == "note":
        note.unlink()
    else:
        note.write_text("{")
    assert unpacked(archive) == folder
    assert files(folder) == intact and len(unpackings) == 2


def test_unpacked_by_contents_of_archive(archive: Path) -> None:
    first = unpacked(archive)
    status = archive.stat()
    archive.write_bytes(archive.read_bytes().replace(b"dogs/c.jpg", b"wolf/c.jpg"))
    os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(tk.DataError, match="must be a valid archive"):
        # Only the name was to be changed, but the checksum of the contents tells.
        unpacked(archive)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("wolf/c.jpg", "wolf")
    assert unpacked(archive) != first and files(first)["dogs/c.jpg"] == "dogs/c.jpg"


def test_unpacked_damaged_archive_leaves_nothing(archive: Path, own_home: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(tk.DataError, match="must be a valid archive.*Download it again"):
        unpacked(archive)
    assert not [*(own_home / "unpacked").iterdir()] and archive.is_file()


def test_unpacked_damaged_download_is_deleted(archive: Path, own_home: Path) -> None:
    download = own_home / "downloads" / "key" / "photos.zip"
    download.parent.mkdir(parents=True)
    download.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(tk.DataError, match="must be a valid archive"):
        unpacked(download)
    assert not download.exists()


def test_unpacked_missing_archive_raises(tmp_path: Path) -> None:
    with pytest.raises(tk.DataError, match="must be readable. Received: .*none.zip.*No such file"):
        unpacked(tmp_path / "none.zip")


def test_unpacked_with_bad_limit_raises_first(
    archive: Path, unpackings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE_LIMIT", "much")
    with pytest.raises(ValueError, match="TRANSFERKIT_CACHE_LIMIT must be a size"):
        unpacked(archive)
    assert not unpackings


def test_unpacked_by_threads_at_once(archive: Path, unpackings: list[Path]) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(unpacked(archive))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1 and len(unpackings) == 1
