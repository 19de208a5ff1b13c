"""Folders of images: classes, splits, files of systems and cameras, names in every encoding."""

from __future__ import annotations

import itertools
import os
import unicodedata
from pathlib import Path

import pytest

import transferkit as tk
from tests.data.conftest import write_jpeg
from transferkit.data.folders import list_images, split_dirs
from transferkit.errors import DataError


def tree(root: Path, classes: tuple[str, ...] = ("cats", "dogs"), count: int = 5, start: int = 0) -> Path:
    for position, name in enumerate(classes):
        for number in range(count):
            write_jpeg(root / name / f"{number}.jpg", start + 100 * position + number)
    return root


def build(root: Path, **options: object) -> tk.Data:
    return tk.DatasetBuilder(root, image_size=16, progress=False, **options).build()


def reasons(data: tk.Data) -> dict[str, str]:
    rows = [*data.report.skipped, *data.report.ignored]
    return {os.path.basename(path): reason for path, reason in rows}


SYSTEM = [
    "@eaDir",
    ".thumbnails",
    "lost+found",
    "$RECYCLE.BIN",
    "__MACOSX",
    ".ipynb_checkpoints",
    "FOUND.000",
    "#recycle",
]


@pytest.mark.parametrize("name", SYSTEM)
def test_system_folders_are_no_classes(tmp_path: Path, name: str) -> None:
    tree(tmp_path)
    write_jpeg(tmp_path / name / "S-1" / "0.jpg", 900)
    write_jpeg(tmp_path / "cats" / name / "0.jpg", 901)
    data = build(tmp_path, validation=0.3)
    assert data.class_names == ("cats", "dogs") and data.report.total == 10


def test_folders_that_only_look_like_system_folders_are_classes(tmp_path: Path) -> None:
    tree(tmp_path, ("foundation", "recycle"))
    assert build(tmp_path, validation=0.3).class_names == ("foundation", "recycle")


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("training_set", "test_set", "test"),
        ("Training", "Validation", "validation"),
        ("train", "eval", "validation"),
        ("train", "dev", "validation"),
        ("train-images", "test-images", "test"),
    ],
)
def test_split_dirs_with_common_names(tmp_path: Path, train: str, other: str, split: str) -> None:
    tree(tmp_path / train)
    tree(tmp_path / other, start=500)
    assert split_dirs(tmp_path) == {"train": tmp_path / train, split: tmp_path / other}


def test_split_dirs_of_classes_called_like_splits(tmp_path: Path) -> None:
    tree(tmp_path, ("test", "contest"))
    assert split_dirs(tmp_path) == {}
    assert build(tmp_path, validation=0.3).class_names == ("contest", "test")


def test_split_dirs_without_training_raises(tmp_path: Path) -> None:
    tree(tmp_path / "val")
    tree(tmp_path / "test", start=500)
    with pytest.raises(
        DataError, match=r"must have a folder with training images\. Received: .*\['test', 'validation'\]"
    ):
        build(tmp_path)


def test_split_dirs_with_two_folders_for_one_split_raises(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "val", "validation")):
        tree(tmp_path / name, start=1000 * number)
    with pytest.raises(DataError, match=r"must have one folder per split\. Received: .*\['val', 'validation'\]"):
        build(tmp_path)


def test_entries_next_to_splits_are_reported(tmp_path: Path) -> None:
    tree(tmp_path / "train")
    tree(tmp_path / "test", start=500)
    tree(tmp_path / "extra_dogs", start=900)
    write_jpeg(tmp_path / "forgotten.jpg", 999)
    found = reasons(build(tmp_path))
    assert set(found) == {"extra_dogs", "forgotten.jpg"}
    assert set(found.values()) == {"it is next to the folders of the splits, not in one of them"}


@pytest.mark.parametrize("name", ["dogs", "cats/5.jpg", "cats/more"])
def test_link_to_missing_place_is_skipped(tmp_path: Path, name: str) -> None:
    tree(tmp_path, ("cats", "birds"))
    os.symlink("/nowhere/at/all", tmp_path / name)
    data = build(tmp_path, validation=0.3)
    assert [path for path, _ in data.report.skipped] == [str(tmp_path / name)]
    assert "link" in reasons(data)[os.path.basename(name)]


def test_files_of_cameras_and_phones_count_as_skipped(tmp_path: Path) -> None:
    tree(tmp_path)
    names = ("IMG_1.CR3", "DSC_2.ARW", "picture.psd", "logo.svg", "clip.mp4")
    for name in names:
        (tmp_path / "cats" / name).write_bytes(b"\x05\0\0\0" + bytes(range(256)) * 4)
    assert {os.path.basename(path) for path, _ in build(tmp_path, validation=0.3).report.skipped} == set(names)
    with pytest.raises(tk.ImageError):
        build(tmp_path, validation=0.3, on_error="raise")
    with pytest.raises(DataError, match=r"Received: 5 of 15 unreadable"):
        build(tmp_path, validation=0.3, max_skipped_fraction=0.3)


def test_names_in_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    for number, form in enumerate(("NFC", "NFD")):
        split = tmp_path / ("train", "validation")[number]
        tree(split, (unicodedata.normalize(form, "café"), "tea"), start=1000 * number)
    data = build(tmp_path, class_names=["tea", unicodedata.normalize("NFD", "café")])
    assert data.class_names == ("tea", unicodedata.normalize("NFC", "café"))


def test_class_name_that_is_not_unicode_is_escaped(tmp_path: Path) -> None:
    tree(tmp_path, ("cats", "x"))
    (tmp_path / "x").rename(os.fsdecode(os.fsencode(tmp_path) + b"/H\xfchner"))
    data = build(tmp_path, validation=0.3)
    assert data.class_names == ("H\\udcfchner", "cats")
    str(data.report).encode("utf-8")


def test_list_images_of_file_raises(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(DataError, match="it is a file that is no table or archive"):
        list_images(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("seg_train", "seg_test", "test"),
        ("train1", "test1", "test"),
        ("Train-v2", "Val-v2", "validation"),
        ("trainval", "test", "test"),
        ("train", "holdout", "test"),
        ("a train/a train", "a test/a test", "test"),
    ],
)
def test_split_dirs_with_longer_names(tmp_path: Path, train: str, other: str, split: str) -> None:
    tree(tmp_path / train)
    tree(tmp_path / other, start=500)
    tree(tmp_path / "unlabeled", ("new",), start=900)
    found = split_dirs(tmp_path)
    assert found == {"train": tmp_path / train, split: tmp_path / other}


def test_classes_with_words_of_splits_are_no_splits(tmp_path: Path) -> None:
    tree(tmp_path / "steam train", ("red", "blue"))
    tree(tmp_path / "test tube", ("small", "large"), start=500)
    assert split_dirs(tmp_path) == {}
    assert build(tmp_path).class_names == ("steam train", "test tube")


def test_splits_inside_of_every_class_are_found(tmp_path: Path) -> None:
    for position, name in enumerate(("cats", "dogs")):
        tree(tmp_path / name, ("train", "val"), count=3, start=1000 * position)
    data = build(tmp_path)
    assert data.report.counts == {split: {"cats": 3, "dogs": 3} for split in ("train", "validation")}
    assert "in every class" in str(data.report.notes)


def test_links_between_folders_are_followed_once(tmp_path: Path) -> None:
    tree(tmp_path)
    steps = [tmp_path / "cats" / f"step{number}" for number in range(25)]
    for step in steps:
        step.mkdir()
    for step, following in itertools.pairwise(steps):
        (step / "left").symlink_to(following)
        (step / "right").symlink_to(following)
    write_jpeg(steps[-1] / "last.jpg", 77)
    assert len(list_images(tmp_path)) == 11


def test_linked_folder_can_be_in_two_classes(tmp_path: Path) -> None:
    tree(tmp_path / "data", ("cats",))
    (tmp_path / "data" / "kittens").symlink_to("cats")
    assert sorted(set(list_images(tmp_path / "data").labels)) == ["cats", "kittens"]


@pytest.mark.parametrize("path", ["", "a\0b", "a\ud800", "*.nothing"])
def test_build_of_text_that_is_no_folder_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="must be a folder of images. Received: .*there is no such folder"):
        tk.DatasetBuilder(path).build()


def test_build_of_folder_without_images_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "inner.zip").write_bytes(b"PK\3\4")
    with pytest.raises(DataError, match=r"with no images, but \['inner.zip'\]"):
        tk.DatasetBuilder(tmp_path).build()
