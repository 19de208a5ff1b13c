"""Scanning a folder: what is reported, and what is remembered."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3

import pytest
from PIL import Image

from tests.data.conftest import write_jpeg
from tests.images.image_corpus import encode, image_corpus, sample_image
from transferkit.data import file_info, scan
from transferkit.errors import DataError


def base_names(rows):
    return sorted(tuple(os.path.basename(part) for part in row) for row in rows)


def test_scan_reports_every_problem(folder):
    cats, dogs = folder / "cats", folder / "dogs"
    shutil.copy(cats / "cat.0.jpg", cats / "again.jpg")
    shutil.copy(cats / "cat.1.jpg", dogs / "conflict.jpg")
    with Image.open(cats / "cat.2.jpg") as image:
        image.resize((160, 120)).save(cats / "larger.jpg", quality=60)
    (cats / "really.png").write_bytes((cats / "cat.3.jpg").read_bytes() + b"x")
    (cats / "no_extension").write_bytes((cats / "cat.4.jpg").read_bytes() + b"x")
    (dogs / "tiny.png").write_bytes(encode(sample_image()[:4, :5].copy(), "PNG"))
    for name, row in (
        ("empty.jpg", "empty file"),
        ("cut.jpg", "truncated JPEG"),
        ("bomb.png", "PNG that claims 30000 x 30000"),
    ):
        (dogs / name).write_bytes(image_corpus()[row].make)
    (dogs / "folder.jpg").mkdir()
    (dogs / "loop").symlink_to(dogs)
    os.mkfifo(dogs / "pipe.jpg")
    (dogs / "notes.txt").write_text("notes")
    for name in (".DS_Store", "Thumbs.db", "._hidden.jpg"):
        (dogs / name).write_bytes(b"litter")
    (folder / "birds").mkdir()

    report = scan(folder)
    assert report.counts == {"all": {"cats": 16, "dogs": 10}} and report.total == 26
    assert report.imbalance == pytest.approx(1.6)
    assert [name for name, *_ in base_names(report.skipped)] == [
        "bomb.png", "cut.jpg", "empty.jpg", "folder.jpg", "loop", "pipe.jpg",
    ]  # fmt: skip
    assert base_names(row[:1] for row in report.ignored) == [("birds",), ("notes.txt",)]
    assert ("again.jpg", "cat.0.jpg") in base_names(report.duplicates)
    assert base_names(report.label_conflicts) == [("cat.1.jpg", "conflict.jpg")]
    assert ("cat.2.jpg", "larger.jpg") in base_names(report.near_duplicates)
    assert dict(report.extension_mismatches) == {
        str(cats / "really.png"): "its contents are jpeg",
        str(cats / "no_extension"): "it has no image extension; its contents are jpeg",
    }
    assert dict(report.tiny_images) == {str(dogs / "tiny.png"): "5 x 4"}
    assert report.sizes["width"] == {"smallest": 5, "median": 80.0, "largest": 160}
    text = str(report)
    for word in (
        "skipped: 6",
        "label conflicts: 1",
        "extension mismatches: 2",
        "tiny images: 1",
        "ignored: 2",
        "median 80 x 60",
    ):
        assert word in text
    assert json.loads(json.dumps(report.to_dict()))["total"] == 26


def test_scan_reports_leaks_between_splits(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "all" / "train")
    write_jpeg(tmp_path / "all" / "test" / "cats" / "new.jpg", 900)
    shutil.copy(folder / "dogs" / "dog.0.jpg", tmp_path / "all" / "test" / "cats" / "leak.jpg")
    with Image.open(folder / "cats" / "cat.9.jpg") as image:
        image.resize((120, 90)).save(tmp_path / "all" / "train" / "cats" / "resized.jpg", quality=60)
    with_resized = scan(tmp_path / "all")
    assert with_resized.near_duplicate_leaks == [] and len(with_resized.near_duplicates) == 1
    shutil.move(tmp_path / "all" / "train" / "cats" / "resized.jpg", tmp_path / "all" / "test" / "cats")
    assert base_names(scan(tmp_path / "all").near_duplicate_leaks) == [("resized.jpg", "cat.9.jpg")]
    (tmp_path / "all" / "test" / "cats" / "resized.jpg").unlink()
    report = scan(tmp_path / "all")
    assert report.counts["test"] == {"cats": 2} and report.near_duplicate_leaks == []
    assert any(note.startswith("leak:") and "train and test" in note for note in report.notes)
    assert base_names(report.label_conflicts) == [("leak.jpg", "dog.0.jpg")]


def test_scan_of_missing_folder_raises(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        scan(tmp_path / "nowhere")


@pytest.fixture
def inspected(monkeypatch):
    """The names of the files that are really read."""
    seen = []
    original = file_info.load_with_metadata

    def spy(paths, spec):
        seen.extend(os.path.basename(path) for path in paths)
        return original(paths, spec)

    monkeypatch.setattr(file_info, "load_with_metadata", spy)
    return seen


def test_scan_again_reads_only_changed_files(folder, inspected, minute_later):
    (folder / "cats" / "broken.jpg").write_bytes(encode(sample_image(), "JPEG")[:300])
    first = scan(folder)
    assert len(inspected) == 21
    inspected.clear()
    assert scan(folder) == first and inspected == []
    write_jpeg(folder / "cats" / "cat.5.jpg", 77)
    assert scan(folder) != first or inspected == ["cat.5.jpg"]
    assert inspected == ["cat.5.jpg"]


def test_scan_does_not_remember_recent_files(folder, inspected):
    scan(folder)
    inspected.clear()
    scan(folder)
    assert len(inspected) == 20


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_scan_replaces_damaged_database(folder, own_home, minute_later, damage):
    first = scan(folder)
    (database,) = own_home.glob("files-*.sqlite")
    database.write_bytes(damage)
    assert scan(folder) == first
    assert scan(folder) == first
    with sqlite3.connect(next(own_home.glob("files-*.sqlite"))) as again:
        assert again.execute("SELECT count(*) FROM files").fetchone() == (20,)
