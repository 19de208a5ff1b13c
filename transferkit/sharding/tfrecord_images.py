"""The images of a TFRecord file of `tf.train.Example`, with their labels, in its order."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.data.cells import to_name
from transferkit.data.tfrecord import RECORD_OVERHEAD_BYTES
from transferkit.datasets.archive_formats import DamagedArchive
from transferkit.errors import ShardError
from transferkit.images.files import MAX_BYTES, RECORD_HEADER_BYTES
from transferkit.sharding.archive_image import ArchiveImage, too_large
from transferkit.sharding.archives import Archive

tf: Any = LazyModule("tensorflow")
_IMAGE_KEYS = ("image/encoded", "image")
# The first is that of `write_tfrecord`.
_LABEL_KEYS = ("image/labels", "image/class/text", "image/class/label", "label")
# A record has more than the image.
_MAX_RECORD_BYTES = MAX_BYTES + (1 << 20)
_CRC_POLYNOMIAL, _CRC_MASK = 0x82F63B78, 0xA282EAD8


def tfrecord_images(stream: io.BufferedReader, archive: Archive) -> Iterator[ArchiveImage]:
    """Yield the images of a file.

    Raises:
        DamagedArchive: for one that is damaged.
        ShardError: for records without images.
    """
    offset = 0
    while header := stream.read(RECORD_HEADER_BYTES):
        length = _length(header, offset)
        end = offset + length + RECORD_OVERHEAD_BYTES
        if end > archive.size:
            raise DamagedArchive("its end is missing")
        path = f"{archive.path}@{offset}"
        if length > _MAX_RECORD_BYTES:
            yield ArchiveImage(path, None, too_large(length) or OSError("it is too large"))
        else:
            yield _image(stream.read(length), path)
        offset = end
        stream.seek(offset)


def _length(header: bytes, offset: int) -> int:
    """Return the length of a record, whose checksum shows whether there is one."""
    if len(header) < RECORD_HEADER_BYTES:
        raise DamagedArchive("its end is missing")
    length, checksum = struct.unpack("<QI", header)
    if masked_crc32c(header[:8]) != checksum:
        raise DamagedArchive(f"no record at byte {offset:,}")
    return int(length)


def masked_crc32c(data: bytes) -> int:
    """Return the checksum of a few bytes as TFRecord files have it.

    >>> hex(masked_crc32c(bytes(8)))
    '0x7980329'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _CRC_MASK) & 0xFFFFFFFF


def _image(record: bytes, path: str) -> ArchiveImage:
    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception as error:
        # The class of this error depends on the installed protobuf.
        raise DamagedArchive("a record that is no tf.train.Example") from error
    key = next((key for key in _IMAGE_KEYS if key in features and features[key].bytes_list.value), None)
    if key is None:
        raise ShardError(
            f"The records of an archive must have encoded images as 'image/encoded'. Received: {path!r} with "
            f"{sorted(features)[:10]}. Write them again, or give another archive."
        )
    return ArchiveImage(path, _label(features), features[key].bytes_list.value[0])


def _label(features: Any) -> str | None:
    for key in _LABEL_KEYS:
        if key in features:
            values = [*features[key].bytes_list.value, *features[key].int64_list.value]
            names = [to_name(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one)) for one in values]
            if any(names):
                return ",".join(filter(None, names))
    return None
