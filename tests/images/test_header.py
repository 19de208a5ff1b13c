"""Headers: format, size, orientation and the decoder that they select."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.images.image_corpus import encode, exif, sample_image
from transferkit.images.header import read_header


def test_read_header_selects_decoder():
    assert read_header(encode(sample_image(), "JPEG")).tf_decodable
    assert read_header(encode(sample_image(), "PNG")).tf_decodable
    turned = read_header(encode(sample_image(), "JPEG", exif=exif(6)))
    assert turned.tf_decodable and turned.orientation == 6 and turned.upright_size == (64, 48)
    assert not read_header(encode(Image.fromarray(sample_image()).convert("CMYK"), "JPEG")).tf_decodable
    assert not read_header(encode(Image.fromarray(sample_image()).convert("RGBA"), "PNG")).tf_decodable
    assert read_header(encode(sample_image(), "WEBP")).upright_size == (48, 64)
    assert read_header(encode(sample_image(), "WEBP", lossless=True)).upright_size == (48, 64)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF1234WEBP"])
)
def test_read_header_accepts_any_bytes(data, start):
    header = read_header(start + data)
    assert header.width >= 0 and header.height >= 0
