"""Reads the files of a multipart body into memory; names of files are ignored."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from transferkit.serving.errors import RequestError, bad_request

_REMEDY = "Send each image as one part, as curl -F image=@photo.jpg does."
_MAX_HEADER_BYTES = 8 << 10


class _Parts:
    """Collects the contents of parts while a parser runs."""

    def __init__(self, max_parts: int) -> None:
        self.contents: list[bytes] = []
        self.finished = False
        self._max_parts = max_parts
        self._part = bytearray()
        self._header_bytes = 0

    def on_part_begin(self) -> None:
        if len(self.contents) >= self._max_parts:
            raise RequestError(
                413,
                "too_many_images",
                f"A request must have at most {self._max_parts:,} images. Received: more. Send several requests.",
            )
        self._part, self._header_bytes = bytearray(), 0

    def on_header(self, data: bytes, start: int, end: int) -> None:
        self._header_bytes += end - start
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise bad_request(f"The headers of a part must be short. Received: more than 8 KB. {_REMEDY}")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._part += data[start:end]

    def on_part_end(self) -> None:
        self.contents.append(bytes(self._part))
        self._part = bytearray()

    def on_end(self) -> None:
        self.finished = True


async def read_parts(content_type: str, chunks: AsyncIterator[bytes], max_parts: int) -> list[bytes]:
    """Return the contents of all parts in order.

    Raises:
        RequestError: when the body is no complete multipart body, or has no part or too many.
    """
    parts = _Parts(max_parts)
    callbacks = {
        "on_part_begin": parts.on_part_begin,
        "on_header_field": parts.on_header,
        "on_header_value": parts.on_header,
        "on_part_data": parts.on_part_data,
        "on_part_end": parts.on_part_end,
        "on_end": parts.on_end,
    }
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise bad_request(f"A multipart body must have a boundary. Received: none in Content-Type. {_REMEDY}")
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise bad_request(f"The body must be multipart. Received: one that is not ({error}). {_REMEDY}") from error
    if not parts.finished:
        raise bad_request(f"A multipart body must end with its boundary. Received: one that does not. {_REMEDY}")
    if not parts.contents:
        raise bad_request(f"A multipart body must have an image. Received: none. {_REMEDY}")
    return parts.contents
