"""Metadata of single files."""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.images.image_corpus import encode
from transferkit.data import file_info, file_info_db
from transferkit.data.file_info import FileInfo, hash_files, inspect_files
from transferkit.images.spec import ImageSpec


def test_inspect_files_returns_metadata(folder):
    path = str(folder / "cats" / "cat.0.jpg")
    (fact,) = inspect_files([path], ImageSpec((16, 16)))
    assert (fact.format, fact.height, fact.width, fact.error) == ("jpeg", 60, 80, None)
    assert fact.num_bytes == os.path.getsize(path) and len(fact.digest) == 32 and fact.perceptual_hash is not None
    flat = folder / "cats" / "flat.png"
    flat.write_bytes(encode(np.full((40, 40, 3), 90, np.uint8), "PNG"))
    assert inspect_files([str(flat)], ImageSpec((16, 16)))[0].perceptual_hash is None


SPEC = ImageSpec((16, 16))


@pytest.fixture
def two_images(tmp_path: Path, minute_later: None) -> list[Path]:
    """A red and a blue image, whose files have equal sizes and modification times."""
    paths = []
    for name, color in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        path = tmp_path / f"{name}.bmp"
        path.write_bytes(encode(np.full((20, 20, 3), color, np.uint8), "BMP"))
        os.utime(path, (1_600_000_000, 1_600_000_000))
        paths.append(path)
    assert paths[0].stat().st_size == paths[1].stat().st_size
    return paths


def inspect(paths: list[Path]) -> list[FileInfo]:
    return inspect_files([str(path) for path in paths], SPEC, progress=False)


def test_files_renamed_into_each_other_are_read_again(two_images: list[Path]) -> None:
    red, blue = two_images
    before = inspect(two_images)
    red.rename(red.with_suffix(".old"))
    blue.rename(red)
    red.with_suffix(".old").rename(blue)
    assert [info.digest for info in inspect(two_images)] == [before[1].digest, before[0].digest]
    assert hash_files([str(red)]) == [before[1].digest]


def test_folders_renamed_into_each_other_are_read_again(two_images: list[Path], tmp_path: Path) -> None:
    places = []
    for path, folder in zip(two_images, ("a", "b"), strict=True):
        (tmp_path / folder).mkdir()
        places.append(path.rename(tmp_path / folder / "image.bmp"))
    before = inspect(places)
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "c").rename(tmp_path / "b")
    assert [info.digest for info in inspect(places)] == [before[1].digest, before[0].digest]


def test_copy_in_place_with_old_time_is_read_again(two_images: list[Path]) -> None:
    red, blue = two_images
    before = inspect(two_images)
    with open(red, "r+b") as file:
        file.write(blue.read_bytes())
    os.utime(red, (1_600_000_000, 1_600_000_000))
    assert inspect(two_images)[0].digest == before[1].digest


@pytest.mark.parametrize("change", ["digest = zeroblob(32)", "height = -5", "format = x'00ff'", "error = 'gone'"])
def test_changed_rows_of_database_are_not_believed(two_images: list[Path], own_home: Path, change: str) -> None:
    before = inspect(two_images)
    with sqlite3.connect(next(own_home.glob("files-*.sqlite"))) as database:
        assert database.execute(f"UPDATE files SET {change}").rowcount == 2
    assert inspect(two_images) == before


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that waited for a lock in vain."""
    found: list[str] = []

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            try:
                return super().execute(sql, *arguments)
            except sqlite3.OperationalError:
                found.append(sql)
                raise

    monkeypatch.setattr(file_info_db.sqlite3, "connect", functools.partial(sqlite3.connect, factory=Connection))
    return found


def test_locked_database_is_bypassed(two_images: list[Path], own_home: Path, waits: list[str]) -> None:
    before = inspect(two_images)
    holder = sqlite3.connect(next(own_home.glob("files-*.sqlite")))
    holder.execute("BEGIN EXCLUSIVE")
    assert inspect(two_images) == before
    # It waits for loading and for saving.
    assert len(waits) == 2
    holder.close()


def write_garbage_after_first_page(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


def run_sql(*statements: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        path.unlink()
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            for statement in statements:
                database.execute(statement)

    return run


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        write_garbage_after_first_page,
        run_sql("CREATE TABLE files (path, digest)"),
        # A query of this view would never end.
        run_sql(
            "CREATE VIEW files AS WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) "
            "SELECT n AS path, n AS size FROM numbers"
        ),
    ],
)
def test_damaged_database_is_replaced_at_once(
    two_images: list[Path], own_home: Path, damage: Callable[[Path], None]
) -> None:
    before = inspect(two_images)
    path = next(own_home.glob("files-*.sqlite"))
    damage(path)
    assert inspect(two_images) == before
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(DISTINCT path) FROM files").fetchone() == (2,)


def test_folder_in_place_of_database_is_bypassed(two_images: list[Path], own_home: Path) -> None:
    before = inspect(two_images)
    path = next(own_home.glob("files-*.sqlite"))
    path.unlink()
    path.mkdir()
    assert inspect(two_images) == before and path.is_dir()


def test_hash_files_waits_for_lock_once(
    two_images: list[Path], own_home: Path, monkeypatch: pytest.MonkeyPatch, waits: list[str]
) -> None:
    digests = [info.digest for info in inspect(two_images)]
    monkeypatch.setattr(file_info, "_HASH_BATCH", 1)
    with contextlib.closing(sqlite3.connect(next(own_home.glob("files-*.sqlite")))) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        # Twenty batches.
        assert hash_files([str(path) for path in two_images] * 10) == digests * 10
    assert len(waits) == 1


def test_image_over_the_limit_is_not_remembered(two_images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERKIT_MAX_PIXELS", "10")
    assert "raise `max_pixels` or $TRANSFERKIT_MAX_PIXELS" in str(inspect(two_images)[0].error)
    monkeypatch.delenv("TRANSFERKIT_MAX_PIXELS")
    assert inspect(two_images)[0].error is None
