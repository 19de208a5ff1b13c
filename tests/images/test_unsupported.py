"""Files of known types that cannot be decoded: each has a reason that says what to do."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.images.image_corpus import encode, sample_image
from transferkit.errors import ImageError
from transferkit.images import ImageSpec, load_image, read_image, unsupported
from transferkit.images.unsupported import undecodable_reason

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
AVIF = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + bytes(200)


def small_tiff(*entries: tuple[int, int, int], order: str = "<") -> bytes:
    """Return a TIFF directory of (tag, type, value) without pixels."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    fields = [struct.pack(order + ("HHIHxx" if kind == 3 else "HHII"), tag, kind, 1, value)
              for tag, kind, value in entries]  # fmt: skip
    return start + b"".join(fields) + bytes(4)


@pytest.mark.parametrize(
    ("name", "contents", "reason"),
    [
        ("IMG_1.CR3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "camera raw"),
        ("DSC_2.ARW", b"\5\0\0\0\x80\0\0\0", "camera raw"),
        ("DSCF3.RAF", b"FUJIFILMCCD-RAW 0201", "camera raw"),
        ("renamed.jpg", b"FUJIFILMCCD-RAW 0201", "camera raw"),
        ("P4.RW2", b"IIU\0\x18\0\0\0", "camera raw"),
        ("b.NEF", small_tiff((254, 4, 1)), "camera raw"),
        ("dng.tif", small_tiff((256, 3, 160), (50706, 4, 0x104)), "camera raw"),
        ("dng.tif", small_tiff((256, 3, 160), (50706, 4, 0x104), order=">"), "camera raw"),
        ("nef.tif", small_tiff((254, 4, 1), (330, 4, 90)), "camera raw"),
        ("a.psd", b"8BPS\0\1", "layers"),
        ("a.svg", b'<?xml version="1.0"?><!-- drawing -->', "SVG"),
        ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("a.eps", b"%!PS-Adobe-3.0", "PostScript"),
        ("scan.jpg", b"%PDF-1.7", "PDF"),
        ("a.jxl", b"\xff\x0a\xfa", "JPEG XL"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        ("clip.MOV", b"\0\0\0\x14ftypqt  ", "video"),
        ("clip.jpg", b"\0\0\0\x14ftypisom", "video"),
        ("clip.avi", b"RIFF\0\0\0\0AVI LIST", "video"),
        ("clip.mkv", b"\x1a\x45\xdf\xa3\x01\0", "video"),
        ("scan.dcm", bytes(128) + b"DICM", "not supported"),
    ],
)
def test_undecodable_reason_of_known_types(name: str, contents: bytes, reason: str, tmp_path: Path) -> None:
    assert reason in (undecodable_reason(name, contents[:64]) or "")
    path = tmp_path / name
    path.write_bytes(contents + bytes(range(256)))
    for read in (read_image, lambda file: load_image(file, ImageSpec((8, 8)))):
        with pytest.raises(ImageError, match=reason):
            read(path)


@pytest.mark.parametrize("name", ["a.jpg", "renamed.nef", "renamed.heic", "a.mp4"])
def test_undecodable_reason_of_images_is_none(name: str) -> None:
    for form in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        assert undecodable_reason(name, encode(sample_image(), form)[:64]) is None


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("notes.txt", b"text"),
        ("cat.xml", b'<?xml version="1.0"?><annotation/>'),
        ("page.heic", b"<!DOCTYPE html><html>"),
        ("song.m4a", b"\0\0\0\x18ftypM4A "),
        ("a.tif", small_tiff((254, 4, 0), (330, 4, 90))),
    ],
)
def test_undecodable_reason_of_other_files_is_none(name: str, contents: bytes) -> None:
    assert undecodable_reason(name, contents) is None


def test_heic_and_avif_without_decoder_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsupported, "heif_image_class", lambda: None)
    assert 'pip install "transferkit[heif]"' in (undecodable_reason("a.HEIC", HEIC) or "")
    assert "transferkit[heif]" in (undecodable_reason("a.jpg", HEIC) or "")
    monkeypatch.setattr(unsupported, "avif_is_decodable", lambda: False)
    assert "install pillow 11.3" in (undecodable_reason("a.avif", AVIF) or "")
