"""Tar archives and TFRecord files for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def png(seed: int = 0) -> bytes:
    """Return a PNG file of random pixels."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    """Write an archive with members in this order."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, contents in members:
            header = tarfile.TarInfo(name)
            header.size = len(contents)
            archive.addfile(header, io.BytesIO(contents))
    return path


def add_headers(path: Path, headers: Iterable[tarfile.TarInfo]) -> Path:
    """Add members without contents to an archive."""
    with tarfile.open(path, "a") as archive:
        for header in headers:
            archive.addfile(header)
    return path


def header(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Return the header of a link, a device or a folder."""
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


def write_examples(path: Path, examples: Iterable[dict[str, list[Any]]]) -> Path:
    """Write a TFRecord file; texts are bytes, numbers integers."""
    import tensorflow as tf

    def feature(values: list[Any]) -> Any:
        if values and isinstance(values[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            features = tf.train.Features(feature={name: feature(values) for name, values in example.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())
    return path
