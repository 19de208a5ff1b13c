"""Members of zip and tar archives as other programs write them, and headers that must not be trusted."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from transferkit.datasets.archive_formats import (
    DamagedArchive,
    UnsafeArchive,
    describe_contents,
    is_html,
    kind_of_archive,
    read_members,
)


def contents(path: Path, max_files: int = 1000) -> dict[str, bytes]:
    return {member.name: b"".join(member.chunks) for member in read_members(path, max_files) if not member.is_folder}


def zip_of(path: Path, *members: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in members:
            archive.writestr(info, data)
    return path


def tar_of(
    path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT
) -> Path:
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def with_raw_name(path: Path, raw: bytes, extra: bytes = b"") -> Path:
    """Write a zip file with one member, whose name is `raw` without the flag of UTF-8."""
    placeholder = "x" * len(raw)
    info = zipfile.ZipInfo(placeholder)
    info.extra = extra
    zip_of(path, (info, b"data"))
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), raw))
    return path


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"PK\x03\x04", "zip"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\0" * 257 + b"ustar", "tar"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07\x01", "rar"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x89PNG\r\n", None),
        (b"", None),
    ],
)
def test_kind_of_archive_by_first_bytes(tmp_path: Path, head: bytes, kind: str | None) -> None:
    (tmp_path / "file.jpg").write_bytes(head)
    assert kind_of_archive(tmp_path / "file.jpg") == kind


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"<!DOCTYPE html><html>", "a web page (HTML), such as a login page. Open the link in a browser"),
        (b"\xef\xbb\xbf\n  <html lang='en'>", "a web page"),
        (b"<?xml version='1.0'?>\n<!-- saved -->\n<!DOCTYPE html PUBLIC", "a web page"),
        ("\ufeff<html><head>".encode("utf-16-le"), "a web page"),
        (b"<?xml version='1.0'?><svg>", None),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS. Run: git lfs pull"),
        (b"Rar!\x1a\x07\x01", "a rar archive. Unpack it with another program, and give the folder"),
        (b"PK\x03\x04", None),
        (b"text", None),
    ],
)
def test_describe_contents(tmp_path: Path, head: bytes, expected: str | None) -> None:
    (tmp_path / "file").write_bytes(head)
    found = describe_contents(tmp_path / "file")
    assert (found or "").startswith(expected or "") and (found is None) == (expected is None)
    assert is_html(head) == (found is not None and "web page" in found)


def test_zip_name_in_utf8_without_flag(tmp_path: Path) -> None:
    assert contents(with_raw_name(tmp_path / "a.zip", "Kätzchen/猫.jpg".encode())) == {"Kätzchen/猫.jpg": b"data"}


def test_zip_name_in_old_encoding(tmp_path: Path) -> None:
    # 0x84 is "ä" in the code page 437 of MS-DOS, and not UTF-8.
    assert contents(with_raw_name(tmp_path / "a.zip", b"K\x84tzchen.jpg")) == {"Kätzchen.jpg": b"data"}


@pytest.mark.parametrize("is_valid", [True, False])
def test_zip_name_in_extra_field(tmp_path: Path, is_valid: bool) -> None:
    # The field counts only when its checksum is that of the name it belongs to.
    raw = b"K\x84tzchen.jpg"
    field = b"\1" + struct.pack("<I", zlib.crc32(raw) ^ (not is_valid)) + "Кот.jpg".encode()
    extra = struct.pack("<2H", 0x7075, len(field)) + field
    expected = "Кот.jpg" if is_valid else "Kätzchen.jpg"
    assert contents(with_raw_name(tmp_path / "a.zip", raw, extra)) == {expected: b"data"}


def test_zip_name_with_backslashes(tmp_path: Path) -> None:
    assert contents(with_raw_name(tmp_path / "a.zip", b"cats\\a.jpg")) == {"cats/a.jpg": b"data"}


def test_zip_behind_program(tmp_path: Path) -> None:
    # Such as a self-extracting archive.
    path = zip_of(tmp_path / "a.zip", (zipfile.ZipInfo("a.txt"), b"A"))
    path.write_bytes(b"MZ" + bytes(3000) + path.read_bytes())
    assert contents(path) == {"a.txt": b"A"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_of_every_method(tmp_path: Path, method: int) -> None:
    data = b"abc" * 5000
    info = zipfile.ZipInfo("a.txt")
    info.compress_type = method
    assert contents(zip_of(tmp_path / "a.zip", (info, data))) == {"a.txt": data}


def test_zip_with_encrypted_member_raises(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", (zipfile.ZipInfo("a.txt"), b"A"))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(UnsafeArchive, match="'a.txt' is encrypted"):
        contents(path)


def test_zip_with_unknown_method_raises(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", (zipfile.ZipInfo("a.txt"), b"A"))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(signature) + offset] = 97
    path.write_bytes(data)
    with pytest.raises(UnsafeArchive, match="Unpack it with another program, and give the folder"):
        contents(path)


def test_zip_with_changed_contents_raises(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", (zipfile.ZipInfo("a.txt"), b"original"))
    path.write_bytes(path.read_bytes().replace(b"original", b"modified"))
    with pytest.raises(DamagedArchive, match="Bad CRC-32"):
        contents(path)


def test_zip_with_too_many_members_raises(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", *((zipfile.ZipInfo(f"{index}.txt"), b"") for index in range(50)))
    assert len(contents(path, 50)) == 50
    with pytest.raises(UnsafeArchive, match="it contains more than 20 files"):
        contents(path, 20)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_tar_with_long_names(tmp_path: Path, form: int) -> None:
    name = "/".join(["folder" * 10] * 4) + "/猫.jpg"
    assert contents(tar_of(tmp_path / "a.tar", (tarfile.TarInfo(name), b"A"), form=form)) == {name: b"A"}


def test_tar_with_large_header_raises(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.txt")
    info.pax_headers = {"comment": "x" * (3 << 20)}
    with pytest.raises(UnsafeArchive, match="its headers are too large"):
        contents(tar_of(tmp_path / "a.tar", (info, b"A")))


def test_tar_with_sparse_file_raises(tmp_path: Path) -> None:
    # It would unpack to a gigabyte of zeros.
    info = tarfile.TarInfo("a.bin")
    info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 30)}
    with pytest.raises(UnsafeArchive, match="'a.bin' is a sparse file"):
        contents(tar_of(tmp_path / "a.tar", (info, b"A")))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_tar_without_end_raises(tmp_path: Path, mode: str, keep: float) -> None:
    data = bytes(range(256)) * 200
    path = tar_of(tmp_path / "a.tar", *((tarfile.TarInfo(f"{index}.bin"), data) for index in range(3)), mode=mode)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(DamagedArchive):
        contents(path)


def test_tar_with_damaged_header_raises(tmp_path: Path) -> None:
    # `tarfile` would take it for the end of the archive, and the second file would be lost.
    path = tar_of(tmp_path / "a.tar", (tarfile.TarInfo("a.txt"), b"A"), (tarfile.TarInfo("b.txt"), b"B"))
    path.write_bytes(path.read_bytes().replace(b"b.txt", b"c.txt"))
    with pytest.raises(DamagedArchive, match="a damaged header"):
        contents(path)


def test_tar_with_wrong_checksum_of_gzip_raises(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar.gz", (tarfile.TarInfo("a.txt"), b"A"), mode="w:gz")
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedArchive, match="CRC check failed"):
        contents(path)


def test_tar_that_continues_after_its_end_raises(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "a.tar", (tarfile.TarInfo("a.txt"), b"A")).read_bytes()
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(tar + bytes(65 << 20)))
    with pytest.raises(UnsafeArchive, match="it continues after its end"):
        contents(path)
    path.write_bytes(gzip.compress(tar) + b"signature")
    assert contents(path) == {"a.txt": b"A"}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_joined_tar_archives_raise(tmp_path: Path, mode: str) -> None:
    # `tarfile` ends at the end of the first one, and the files of the second would be lost.
    parts = [tar_of(tmp_path / name, (tarfile.TarInfo(name), b"A"), mode=mode).read_bytes() for name in ("a", "b")]
    path = tmp_path / "joined.tar"
    path.write_bytes(b"".join(parts))
    with pytest.raises(UnsafeArchive, match="another archive follows in the same file"):
        contents(path)


def test_tar_without_magic(tmp_path: Path) -> None:
    # As programs before POSIX wrote it.
    path = tar_of(tmp_path / "a.tar", (tarfile.TarInfo("a.txt"), b"A"), form=tarfile.USTAR_FORMAT)
    data = bytearray(path.read_bytes())
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    assert contents(path) == {"a.txt": b"A"}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_describe_compressed_table(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(compress(b"path,label\na.jpg,cats\n"))
    assert (describe_contents(path) or "").endswith("such as of a single table. Decompress it, and give the result")
    path.write_bytes(compress(tar_of(tmp_path / "a", (tarfile.TarInfo("a.txt"), b"A")).read_bytes()))
    assert describe_contents(path) is None
    path.write_bytes(path.read_bytes()[:20])
    assert describe_contents(path) is None


def test_text_raises(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive" * 100)
    with pytest.raises(DamagedArchive):
        contents(tmp_path / "a.zip")
