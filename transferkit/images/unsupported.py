"""Files of known image and video types that cannot be decoded, and what to do with them."""

from __future__ import annotations

import contextlib
import os

from transferkit.images.codecs import avif_is_decodable, heif_image_class
from transferkit.images.formats import iso_media_brands, sniff_format
from transferkit.images.tiff import tiff_tags

_REASONS = {
    "avif": "it is an AVIF image, which the installed Pillow cannot decode; install pillow 11.3 or later",
    "document": "it is a PDF or PostScript document; export its pages as PNG",
    "heif": 'it is a HEIC image; install the decoder with: pip install "transferkit[heif]"',
    "image": "it is an image of a format that is not supported; convert it to PNG or JPEG",
    "jpeg 2000": "it is a JPEG 2000 image; convert it to PNG or JPEG",
    "jpeg xl": "it is a JPEG XL image; convert it to PNG or JPEG",
    "layers": "it is an image with layers of a drawing program (such as PSD); export it as PNG or JPEG",
    "raw": "it is a camera raw file, whose only readable image is a thumbnail; export it as JPEG or PNG",
    "svg": "it is an SVG drawing; render it to PNG",
    "video": "it is a video; extract its frames as JPEG or PNG",
}
_EXTENSIONS = {
    "avif": "avif avifs",
    "document": "pdf ps eps epsf epsi ai",
    "heif": "heic heif heics heifs hif",
    "image": "bpg cur dcm dcx dds dpx emf exr fits flif fts hdr icns jxr pcx pict qoi sgi tga wdp wmf xbm xpm",
    "jpeg 2000": "j2c j2k jp2 jpc jpf jpm jpx",
    "jpeg xl": "jxl",
    "layers": "afphoto clip cpt kra ora pdn psb psd sai xcf",
    "raw": "3fr ari arw cr2 cr3 crw dcr dng erf fff gpr iiq k25 kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 "
    "srf srw x3f",
    "svg": "svg svgz",
    "video": "3g2 3gp asf avi divx flv insv m2ts m2v m4v mkv mov mp4 mpeg mpg mts mxf ogv vob webm wmv",
}
_KIND_OF_EXTENSION = {f".{name}": kind for kind, names in _EXTENSIONS.items() for name in names.split()}
# First bytes of a file -> kind.
_SIGNATURES = {
    b"%PDF": "document",
    b"%!PS": "document",
    b"\xc5\xd0\xd3\xc6": "document",
    b"DDS ": "image",
    b"\x76\x2f\x31\x01": "image",
    b"qoif": "image",
    b"\0\0\0\x0cjP  ": "jpeg 2000",
    b"\xff\x4f\xff\x51": "jpeg 2000",
    b"\xff\x0a": "jpeg xl",
    b"\0\0\0\x0cJXL ": "jpeg xl",
    b"8BPS": "layers",
    b"gimp xcf": "layers",
    b"FUJIFILMCCD-RAW": "raw",
    b"FOVb": "raw",
    b"II\x1a\0\0\0HEAPCCDR": "raw",
    b"IIRO": "raw",
    b"IIRS": "raw",
    b"IIU\0": "raw",
    b"MMOR": "raw",
    b"\0MRM": "raw",
    b"\x1a\x45\xdf\xa3": "video",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "video",
    b"\0\0\x01\xba": "video",
    b"FLV\x01": "video",
}
_REDUCED_IMAGE, _SUB_DIRECTORIES, _DNG_VERSION = 254, 330, 50706
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _SAMPLE_FORMAT = 258, 277, 339


def undecodable_reason(name: str, prefix: bytes) -> str | None:
    """Return why a file of a known image or video type cannot be decoded, and what to do; None for any other file.

    Args:
        name: name of the file. Its extension counts where the contents are not of a known type.
        prefix: the first bytes of the file, at least 32, or all of them: only these show a raw file called .tif.

    >>> undecodable_reason("IMG_1.HIF", b"RIFF....AVI LIST")
    'it is a video; extract its frames as JPEG or PNG'
    >>> undecodable_reason("notes.txt", b"text")
    """
    by_name = _KIND_OF_EXTENSION.get(os.path.splitext(name)[1].casefold())
    found = sniff_format(prefix)
    if not found:
        kind = _kind_of_contents(prefix) or (by_name if not _is_text_page(prefix) else None)
    elif found == "tiff":
        # Most raw formats are TIFF files that start with a thumbnail.
        kind = "raw" if by_name == "raw" or _is_raw_tiff(prefix) else None
    else:
        kind = found if found in ("avif", "heif") else None
    if (kind == "avif" and avif_is_decodable()) or (kind == "heif" and heif_image_class() is not None):
        return None
    return _REASONS.get(kind or "")


def describe_contents(data: bytes) -> str:
    """Return what a file is that no decoder recognizes."""
    found = sniff_format(data)
    if found:
        return _describe_tiff(data) if found == "tiff" else f"it is a {found.upper()} file that is truncated or corrupt"
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page"
    if start.startswith((b"<?xml", b"<!doctype")):
        return "it is an XML file"
    if start.startswith(b"pk\x03\x04"):
        return "it is a ZIP archive"
    return "it is not an image of a known format"


def _kind_of_contents(prefix: bytes) -> str | None:
    if prefix[4:8] == b"ftyp":
        brands = iso_media_brands(prefix)
        by_brand = {b"crx ": "raw", b"jxl ": "jpeg xl", b"M4A ": None}
        return next((by_brand[brand] for brand in by_brand if brand in brands), "video")
    if prefix[:4] == b"RIFF" and prefix[8:12] == b"AVI ":
        return "video"
    if prefix[4:8] in (b"moov", b"mdat", b"wide", b"pnot"):
        return "video"
    if b"<svg" in prefix[:512].lower():
        return "svg"
    return next((kind for start, kind in _SIGNATURES.items() if prefix.startswith(start)), None)


def _is_text_page(prefix: bytes) -> bool:
    return prefix.lstrip(b"\xef\xbb\xbf \t\r\n")[:5].lower() in (b"<html", b"<!doc")


def _is_raw_tiff(data: bytes) -> bool:
    tags = _tags(data)
    reduced = tags.get(_REDUCED_IMAGE, 0) & 1 and _SUB_DIRECTORIES in tags
    return data[8:10] == b"CR" or _DNG_VERSION in tags or bool(reduced)


def _describe_tiff(data: bytes) -> str:
    tags = _tags(data)
    samples, bits = tags.get(_SAMPLES_PER_PIXEL, 1), tags.get(_BITS_PER_SAMPLE, 1)
    kind = {2: "signed integer", 3: "float"}.get(tags.get(_SAMPLE_FORMAT, 1), "unsigned integer")
    values = f"{samples} x {bits}-bit {kind} values per pixel"
    return f"it is a TIFF file of {values}, which Pillow cannot decode; convert it to 8 bits"


def _tags(data: bytes) -> dict[int, int]:
    tags: dict[int, int] = {}
    # A prefix may end within the directory.
    with contextlib.suppress(ValueError):
        for tag, _, value in tiff_tags(data):
            tags[tag] = value
    return tags
