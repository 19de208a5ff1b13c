"""200 malformed uploads: each is answered with an error of the client, and the server goes on."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.serving.conftest import Serve
from tests.serving.fakes import FakePredictor, png
from tests.waiting import processor_limit, wait_until
from transferkit.images import ImageSpec
from transferkit.images.loading import load_images

COUNT = 200


class DecodingPredictor(FakePredictor):
    """Decodes as a real one does."""

    def _brightness(self, image: Any) -> float:
        loaded = load_images([image], ImageSpec((6, 8)))[0]
        if isinstance(loaded, Exception):
            raise loaded
        return float(loaded.mean()) / 255


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """A small file that claims, and would inflate to, very many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(4 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def encoded(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def bombs() -> Iterator[bytes]:
    for width, height in (
        (50_000, 50_000),
        (2**31 - 1, 2**31 - 1),
        (1, 2**31 - 1),
        (200_000, 600),
        (0, 5),
        (9_500, 9_500),
    ):
        yield png_bomb(width, height)
    gif = bytearray(encoded("GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    yield bytes(gif)
    bmp = bytearray(encoded("BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    yield bytes(bmp)
    jpeg = bytearray(encoded("JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 65500, 65500)
    yield bytes(jpeg)
    yield b"P6 100000 100000 255\n" + bytes(1000)
    yield b"P3 50000 50000 255\n" + b"1 " * 500
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "TIFF", compression="group4")
    yield file.getvalue()


def unreadable(rng: random.Random) -> Iterator[bytes]:
    """Endless files that are not complete images of a supported format."""
    yield from bombs()
    yield from (
        b"<html></html>",
        b"%PDF-1.7",
        b"GIF89a",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP",
        b"PK\3\4",
        b"{}",
        b"\0" * 99,
    )
    yield from (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"/etc/passwd", b"MZ")
    while True:
        kind = rng.choice(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
        data = encoded(kind)
        choice = rng.randrange(3)
        if choice == 0:
            yield data[: rng.randrange(1, len(data) // 2)]
        elif choice == 1:
            yield rng.randbytes(rng.randrange(1, 3000))
        else:
            yield data[:6] + rng.randbytes(200)


def requests(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Endless (Content-Type, body) of wrong requests."""
    valid = base64.b64encode(png(5)).decode()
    images = unreadable(rng)
    while True:
        image = next(images)
        as_base64 = base64.b64encode(image).decode()
        yield "application/octet-stream", image
        yield "image/jpeg", image
        yield "application/json", json.dumps({"image": as_base64}).encode()
        yield (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="i"\r\n\r\n' + image + b"\r\n--b--\r\n",
        )
        yield rng.choice(["text/html", "application/xml", "video/mp4", "audio/x", "x", "multipart/mixed"]), image
        yield "application/json", rng.choice([image, json.dumps(valid).encode(), b'{"image": [' + b"[" * 50_000])
        yield "multipart/form-data; boundary=b", b"--b\r\n" + image
        yield f"multipart/form-data; boundary={rng.randrange(99)}x", image
        yield "application/json", json.dumps({"image": valid[: rng.randrange(1, 8)] + "!"}).encode()
        yield "application/octet-stream", bytes(rng.randrange(70_000, 200_000))


def test_malformed_uploads_are_answered_with_errors(run: Serve) -> None:
    # The first image imports the decoder, as `warm_up` of a real predictor does.
    load_images([png(1)], ImageSpec((6, 8)))
    running = run(DecodingPredictor(), max_upload_bytes=64 << 10, max_pixels=10_000_000)
    statuses: dict[int, int] = {}
    for number, (content_type, body) in zip(range(COUNT), requests(random.Random(0))):
        # The server is in this process.
        with processor_limit(5):
            response = running.client.post("/v1/predict", content=body, headers={"content-type": content_type})
        assert 400 <= response.status_code < 500, (number, content_type, body[:60], response.text)
        error = response.json()["error"]
        assert error["code"] and "Received: " in error["message"]
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
    assert set(statuses) == {400, 413, 415, 422} and sum(statuses.values()) == COUNT
    good = running.client.post("/v1/predict", content=png(255), headers={"content-type": "image/png"})
    assert good.status_code == 200 and good.json()["label"] == "bright"
    wait_until(lambda: running.service.metrics.buffered._value.get() == 0)


@pytest.mark.parametrize("image", list(bombs()), ids=lambda image: str(len(image)))
def test_bombs_use_no_memory(image: bytes) -> None:
    import tracemalloc

    from transferkit.serving.operations import refusal

    tracemalloc.start()
    try:
        reason = refusal(image, 10_000_000)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()
    # One claims a height or width of 0, which the decoder refuses.
    assert reason is not None or image == png_bomb(0, 5)
