"""Scanning a folder: everything that is wrong with it is found, and remembered while nothing changes."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.conftest import draw
from tests.data.odd_files import encoded, oddities, picture
from transferkit.data import file_info as facts_module
from transferkit.data import scan
from transferkit.data.analysis import near_duplicate_groups
from transferkit.data.file_info import FileInfo, inspect_files
from transferkit.errors import DataError
from transferkit.images.spec import ImageSpec


def base(rows):
    return sorted(tuple(os.path.basename(part) for part in row) for row in rows)


def test_everything_wrong_with_a_folder_is_found(folder):
    cats, dogs = folder / "cats", folder / "dogs"
    shutil.copy(cats / "cat.0.jpg", cats / "again.jpg")
    shutil.copy(cats / "cat.1.jpg", dogs / "conflict.jpg")
    with Image.open(cats / "cat.2.jpg") as image:
        image.resize((160, 120)).save(cats / "larger.jpg", quality=60)
    (cats / "really.png").write_bytes((cats / "cat.3.jpg").read_bytes() + b"x")
    (cats / "no_extension").write_bytes((cats / "cat.4.jpg").read_bytes() + b"x")
    (dogs / "tiny.png").write_bytes(encoded(picture()[:4, :5].copy(), "PNG"))
    for name, row in (
        ("empty.jpg", "empty file"),
        ("cut.jpg", "truncated JPEG"),
        ("bomb.png", "PNG that claims 30000 x 30000"),
    ):
        (dogs / name).write_bytes(oddities()[row].make)
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
    assert [name for name, *_ in base(report.skipped)] == [
        "bomb.png", "cut.jpg", "empty.jpg", "folder.jpg", "loop", "pipe.jpg",
    ]  # fmt: skip
    assert base(row[:1] for row in report.ignored) == [("birds",), ("notes.txt",)]
    assert ("again.jpg", "cat.0.jpg") in base(report.duplicates)
    assert base(report.label_conflicts) == [("cat.1.jpg", "conflict.jpg")]
    assert ("cat.2.jpg", "larger.jpg") in base(report.near_duplicates)
    assert dict(report.extension_mismatches) == {
        str(cats / "really.png"): "its contents are jpeg",
        str(cats / "no_extension"): "it has no extension of an image; it is jpeg",
    }
    assert dict(report.small) == {str(dogs / "tiny.png"): "5 x 4"}
    assert report.sizes["width"] == {"smallest": 5, "median": 80.0, "largest": 160}
    text = str(report)
    for word in ("skipped: 6", "conflicts: 1", "mislabelled: 2", "small: 1", "ignored: 2", "median 80 x 60"):
        assert word in text
    assert json.loads(json.dumps(report.to_dict()))["total"] == 26


def test_leaks_between_splits_are_told(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "all" / "train")
    draw(tmp_path / "all" / "test" / "cats" / "new.jpg", 900)
    shutil.copy(folder / "dogs" / "dog.0.jpg", tmp_path / "all" / "test" / "cats" / "leak.jpg")
    with Image.open(folder / "cats" / "cat.9.jpg") as image:
        image.resize((120, 90)).save(tmp_path / "all" / "train" / "cats" / "resized.jpg", quality=60)
    with_resized = scan(tmp_path / "all")
    assert with_resized.near_duplicate_leaks == [] and len(with_resized.near_duplicates) == 1
    shutil.move(tmp_path / "all" / "train" / "cats" / "resized.jpg", tmp_path / "all" / "test" / "cats")
    assert base(scan(tmp_path / "all").near_duplicate_leaks) == [("resized.jpg", "cat.9.jpg")]
    (tmp_path / "all" / "test" / "cats" / "resized.jpg").unlink()
    report = scan(tmp_path / "all")
    assert report.counts["test"] == {"cats": 2} and report.near_duplicate_leaks == []
    assert any(note.startswith("leak:") and "train and test" in note for note in report.notes)
    assert base(report.label_conflicts) == [("leak.jpg", "dog.0.jpg")]


def test_a_page_shows_thumbnails_and_escapes_names(folder, tmp_path):
    shutil.copy(folder / "cats" / "cat.0.jpg", folder / "cats" / "<b>&.jpg")
    scan(folder).to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.count("data:image/jpeg;base64,") >= 2
    assert "&lt;b&gt;&amp;.jpg" in page and "<b>&.jpg" not in page


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        scan(tmp_path / "nowhere")


def old(folder):
    """Files changed a moment ago are not remembered, as they may change again within the clock's tick."""
    for path in folder.rglob("*.jpg"):
        os.utime(path, ns=(10**18, 10**18))


@pytest.fixture
def examined(monkeypatch):
    """The names of the files that are really read."""
    seen = []
    original = facts_module.load_with_metadata

    def spy(paths, spec):
        seen.extend(os.path.basename(path) for path in paths)
        return original(paths, spec)

    monkeypatch.setattr(facts_module, "load_with_metadata", spy)
    return seen


def test_a_second_scan_opens_only_what_changed(folder, examined):
    (folder / "cats" / "broken.jpg").write_bytes(encoded(picture(), "JPEG")[:300])
    old(folder)
    first = scan(folder)
    assert len(examined) == 21
    examined.clear()
    assert scan(folder) == first and examined == []
    draw(folder / "cats" / "cat.5.jpg", 77)
    assert scan(folder) != first or examined == ["cat.5.jpg"]
    assert examined == ["cat.5.jpg"]


def test_fresh_files_and_missing_ones_are_not_remembered(folder, examined):
    scan(folder)
    examined.clear()
    scan(folder)
    assert len(examined) == 20


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_memory_is_only_forgotten(folder, own_home, damage):
    old(folder)
    first = scan(folder)
    (database,) = own_home.glob("files-*.sqlite")
    database.write_bytes(damage)
    assert scan(folder) == first
    assert scan(folder) == first
    with sqlite3.connect(next(own_home.glob("files-*.sqlite"))) as again:
        assert again.execute("SELECT count(*) FROM files").fetchone() == (20,)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=12), st.integers(0, 63), st.integers(0, 63))
def test_look_alikes_are_those_within_three_bits(looks, one, other):
    looks = [*looks, looks[0] ^ (1 << one) ^ (1 << other)]
    known = [FileInfo(str(number).encode(), None, "jpeg", 9, 9, look) for number, look in enumerate(looks)]
    groups = near_duplicate_groups([str(number) for number in range(len(looks))], known)
    assert any({"0", str(len(looks) - 1)} <= set(group) for group in groups)
    grouped = {path for group in groups for path in group}
    for number, look in enumerate(looks):
        near = any(index != number and (look ^ value).bit_count() <= 3 for index, value in enumerate(looks))
        assert (str(number) in grouped) == near


def test_facts_say_what_is_in_a_file(folder):
    path = str(folder / "cats" / "cat.0.jpg")
    (fact,) = inspect_files([path], ImageSpec((16, 16)))
    assert (fact.format, fact.height, fact.width, fact.error) == ("jpeg", 60, 80, None)
    assert fact.bytes == os.path.getsize(path) and len(fact.digest) == 32 and fact.look is not None
    flat = folder / "cats" / "flat.png"
    flat.write_bytes(encoded(np.full((40, 40, 3), 90, np.uint8), "PNG"))
    assert inspect_files([str(flat)], ImageSpec((16, 16)))[0].look is None
