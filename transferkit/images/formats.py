"""Detects the format of an image file from its first bytes."""

from __future__ import annotations

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


def sniff_format(prefix: bytes) -> str:
    """Return "jpeg", "png", "gif", "bmp", "webp", "tiff", "avif", "heif", "ico", "ppm" or "" for unknown contents.

    >>> sniff_format(b"GIF89a")
    'gif'
    """
    if prefix[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if prefix[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if prefix[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if prefix[:4] == b"RIFF" and prefix[8:12] == b"WEBP":
        return "webp"
    if prefix[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if prefix[:2] == b"BM":
        return "bmp"
    if prefix[4:8] == b"ftyp":
        brands = iso_media_brands(prefix)
        return "avif" if brands & _AVIF_BRANDS else "heif" if brands & _HEIF_BRANDS else ""
    if prefix[:4] == b"\0\0\1\0":
        return "ico"
    return "ppm" if prefix[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6") else ""


def iso_media_brands(prefix: bytes) -> set[bytes]:
    """Return the brands of an ISO media file, such as a HEIC image or an MP4 video."""
    end = min(int.from_bytes(prefix[:4], "big"), len(prefix), 256)
    return {prefix[8:12], *(prefix[start : start + 4] for start in range(16, end, 4))}
