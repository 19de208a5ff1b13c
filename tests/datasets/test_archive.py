"""Unpacking valid, unsafe and corrupt archives."""

from __future__ import annotations

import contextlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import transferkit as tk
from transferkit.datasets import unpack


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("extension", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_unpack_every_format(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"photos.{extension}"
    if extension == "zip":
        make_zip(path, {"cats/a.jpg": b"A", "dogs/b c é.jpg": b"B"})
    else:
        with tarfile.open(path, f"w:{extension[4:]}") as archive:
            for name, data in (("cats/a.jpg", b"A"), ("dogs/b c é.jpg", b"B")):
                info = tarfile.TarInfo(name)
                info.size = 1
                archive.addfile(info, io.BytesIO(data))
    folder = unpack(path, tmp_path / "out")
    assert (folder / "cats/a.jpg").read_bytes() == b"A"
    assert (folder / "dogs/b c é.jpg").read_bytes() == b"B"


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/evil", "C:/evil", "a\\..\\evil", "con.txt", "a/nul", "trailing. ", "x" * 300],
)
def test_unpack_unsafe_name_raises(tmp_path: Path, name: str) -> None:
    path = make_zip(tmp_path / "bad.zip", {"good.txt": b"good", name: b"evil"})
    with pytest.raises(tk.DataError, match="must be a safe archive"):
        unpack(path, tmp_path / "inner" / "out")
    assert sorted(item.name for item in tmp_path.rglob("*")) == ["bad.zip", "inner"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_unpack_tar_with_link_or_device_raises(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(tk.DataError, match="'link' is a link or a device"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unpack_zip_with_link_raises(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(tk.DataError, match="'link' is a link or a device"):
        unpack(tmp_path / "link.zip", tmp_path / "out")


def test_unpack_limits_bytes_and_files(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "bomb.zip", {"zeros": bytes(10_000_000)})
    with pytest.raises(tk.DataError, match="unpacks to more than 1,000,000 bytes"):
        unpack(path, tmp_path / "out", max_bytes=1_000_000)
    many = make_zip(tmp_path / "many.zip", {str(number): b"" for number in range(20)})
    with pytest.raises(tk.DataError, match="contains more than 10 files"):
        unpack(many, tmp_path / "out", max_files=10)
    assert not (tmp_path / "out").exists()


def test_unpack_names_differing_in_case_raises(tmp_path: Path) -> None:
    with pytest.raises(tk.DataError, match="differ only in case"):
        unpack(make_zip(tmp_path / "case.zip", {"a/x": b"1", "A/y": b"2"}), tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_unpack_truncated_archive_raises(tmp_path: Path, keep: int) -> None:
    path = make_zip(tmp_path / "truncated.zip", {"a.txt": b"text" * 100})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(tk.DataError, match="must be a valid archive"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unpack_into_used_folder_raises(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(tk.DataError, match="`folder` must be new or empty"):
        unpack(make_zip(tmp_path / "a.zip", {"b": b"c"}), tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=30))
def test_unpack_stays_inside_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    tmp_path = tmp_path_factory.mktemp("names")
    try:
        path = make_zip(tmp_path / "a.zip", {name: b"x"})
    except (ValueError, UnicodeError, IndexError):
        # zipfile cannot write the name.
        return
    with contextlib.suppress(tk.DataError):
        unpack(path, tmp_path / "inner" / "out")
    outside = [
        p for p in tmp_path.rglob("*") if p.is_file() and p != path and tmp_path / "inner" / "out" not in p.parents
    ]
    assert outside == []
