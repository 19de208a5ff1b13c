"""From files to images of the wanted size: one image, many images, and streams of them that read ahead."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.errors import ImageError
from transferkit.images.header import read_header
from transferkit.images.memory_cache import PIXEL_MEMORY, file_key
from transferkit.images.pillow_decoder import MAX_PIXELS, check_header, decode_with_pillow, read_bytes, reduction
from transferkit.images.spec import ImageSpec
from transferkit.images.tf_decoder import DecodeVariant, decode_and_resize, resize_array, resize_geometry

# Images that one call into TensorFlow decodes: enough to keep Python out of the way, few enough to share among threads.
_CHUNK = 16


def load_image(source: Any, spec: ImageSpec) -> np.ndarray:
    """Return one image as uint8 (height, width, 3) of the size of `spec`.

    Args:
        source: path, contents of a file, or pixels (height, width, 3) in [0, 255].
        spec: how pixels are made.

    Raises:
        ImageError: when the file cannot be read.
    """
    pixels = load_images([source], spec)[0]
    if isinstance(pixels, ImageError):
        raise pixels
    return pixels


def load_images(sources: Sequence[Any], spec: ImageSpec) -> list[np.ndarray | ImageError]:
    """Return for each source what `load_image` gives, or the error that it raises."""
    found = load_with_metadata(sources, spec, with_thumbnail=False)
    return [examined if isinstance(examined, ImageError) else examined.pixels for examined in found]


@dataclasses.dataclass(frozen=True)
class Examined:
    """One image with what else was seen while reading it.

    Attributes:
        pixels: uint8 (height, width, 3).
        grey: float32 (8, 9), the whole image in small, where it was wanted.
        format: as `read_header` names it, or "" for an array.
        size: (height, width) of the image in its file.
        contents: of the file; empty for an array.
    """

    pixels: np.ndarray
    thumbnail: np.ndarray
    format: str
    size: tuple[int, int]
    contents: bytes

    @property
    def digest(self) -> bytes:
        """32 bytes that stand for the contents of the file."""
        return _digest(self.contents)


def load_with_metadata(
    sources: Sequence[Any], spec: ImageSpec, *, with_thumbnail: bool = True
) -> list[Examined | ImageError]:
    """Read several images, plain files in one call; see `load_images`."""
    results: list[Examined | ImageError | None] = [None] * len(sources)
    plain: list[tuple[int, _Plain]] = []
    for number, source in enumerate(sources):
        try:
            read = _read(source, spec)
            if isinstance(read, _Plain):
                plain.append((number, read))
            else:
                results[number] = read
        except ImageError as error:
            results[number] = error
    for (number, _), examined in zip(plain, _decode([file for _, file in plain], spec, with_thumbnail)):
        results[number] = examined
    return [result for result in results if result is not None]


@dataclasses.dataclass(frozen=True)
class _Plain:
    """A file that TensorFlow decodes rightly."""

    name: str
    data: bytes
    format: str
    size: tuple[int, int]
    ratio: int
    orientation: int

    @property
    def kind(self) -> DecodeVariant:
        return DecodeVariant(self.format, self.ratio, self.orientation != 1)

    def examined(self, pixels: np.ndarray, thumbnail: np.ndarray) -> Examined:
        return Examined(pixels, thumbnail, self.format, self.size, self.data)


def _read(source: Any, spec: ImageSpec) -> _Plain | Examined:
    if isinstance(source, np.ndarray):
        return _examined_array(_checked(source), spec, "", b"")
    name, data = read_bytes(source)
    header = read_header(data)
    check_header(header, name, MAX_PIXELS)
    if header.plain:
        ratio = reduction(header, spec.min_decoded_side)
        return _Plain(name, data, header.format, header.upright_size, ratio, header.orientation)
    return _examined_array(decode_with_pillow(data, name, MAX_PIXELS), spec, header.format, data)


def _examined_array(image: np.ndarray, spec: ImageSpec, form: str, contents: bytes) -> Examined:
    size = image.shape[0], image.shape[1]
    pixels, thumbnail = resize_array(image, resize_geometry(*size, spec), spec)
    return Examined(pixels, thumbnail, form, size, contents)


def _decode(files: list[_Plain], spec: ImageSpec, with_thumbnail: bool) -> list[Examined | ImageError]:
    results: dict[int, Examined | ImageError] = {}
    for kind in {file.kind for file in files}:
        numbers = [number for number, file in enumerate(files) if file.kind == kind]
        results.update(zip(numbers, _decode_kind([files[number] for number in numbers], kind, spec, with_thumbnail)))
    return [results[number] for number in range(len(files))]


def _decode_kind(
    files: list[_Plain], kind: DecodeVariant, spec: ImageSpec, with_thumbnail: bool
) -> list[Examined | ImageError]:
    try:
        places = [
            resize_geometry(-(-file.size[0] // file.ratio), -(-file.size[1] // file.ratio), spec) for file in files
        ]
        turns = [file.orientation for file in files]
        pixels, thumbnail = decode_and_resize(
            [file.data for file in files], kind, turns, places, spec, with_thumbnail=with_thumbnail
        )
        return [file.examined(*row) for file, *row in zip(files, pixels, thumbnail)]
    except tf.errors.OpError:
        if len(files) == 1:
            return [ImageError(files[0].name, "it is truncated or corrupt")]
        # One of them is corrupt: which, and the pixels of the others, is found by decoding each by itself.
        return [examined for file in files for examined in _decode_kind([file], kind, spec, with_thumbnail)]


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def _checked(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ImageError("<array>", f"pixels must have the shape (height, width, 3), not {image.shape}")
    return image


def content_hashes(paths: Sequence[str]) -> list[bytes]:
    """Return 32 bytes for each file that stand for its contents, in order.

    Raises:
        ImageError: for the first file that cannot be read.
    """

    def decode_all(start: int) -> list[bytes]:
        return [_digest(read_bytes(path)[1]) for path in paths[start : start + 64]]

    with ThreadPoolExecutor(max_workers=threads()) as pool:
        return [key for keys in pool.map(decode_all, range(0, len(paths), 64)) for key in keys]


def image_batches(
    sources: Sequence[Any], spec: ImageSpec, *, batch_size: int, order: Sequence[int] | np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield uint8 (n, height, width, 3): the images of `sources` in `order`, decoded ahead in threads.

    What was decoded once is taken from memory the next time, within a limit for the whole process.

    Raises:
        ImageError: for the first file that cannot be read.
    """
    return map(stacked, image_batch_lists(sources, spec, batch_size=batch_size, order=order))


def decoded(sources: Sequence[Any], spec: ImageSpec) -> np.ndarray:
    """Return uint8 (n, height, width, 3): a few images, decoded in this thread or taken from memory.

    Raises:
        ImageError: for the first file that cannot be read.
    """
    return stacked(_remembered(sources, spec))


def image_batch_lists(
    sources: Sequence[Any], spec: ImageSpec, *, batch_size: int, order: Sequence[int] | np.ndarray | None = None
) -> Iterator[list[np.ndarray | ImageError]]:
    """Yield lists of `batch_size` images or errors, the last with what is left; see `image_batches`."""
    indices = np.arange(len(sources)) if order is None else np.asarray(order)
    chunk = min(_CHUNK, batch_size)
    pending: deque[list[Future[list[np.ndarray | ImageError]]]] = deque()
    with ThreadPoolExecutor(max_workers=threads()) as pool:
        try:
            for start in range(0, len(indices), batch_size):
                batch = indices[start : start + batch_size]
                parts = [[sources[index] for index in batch[at : at + chunk]] for at in range(0, len(batch), chunk)]
                pending.append([pool.submit(_remembered, part, spec) for part in parts])
                # A few batches ahead: enough to keep the threads busy, little enough to keep memory flat.
                if len(pending) > max(2, 64 // batch_size):
                    yield [image for future in pending.popleft() for image in future.result()]
            while pending:
                yield [image for future in pending.popleft() for image in future.result()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def image_dataset(
    paths: Sequence[Any], spec: ImageSpec, *, order: Sequence[int] | np.ndarray | None = None
) -> tf.data.Dataset:
    """Return a dataset of uint8 (height, width, 3): the images of `paths` in `order`, decoded in parallel.

    The pixels are those of `load_image`, bit for bit. Iterating raises `tf.errors.OpError`, whose message names
    the file, at one that cannot be read.

    Args:
        paths: files (or their contents, or arrays).
        spec: how pixels are made.
        order: indices into `paths`; by default all of them, as they come.
    """

    def images() -> Iterator[np.ndarray]:
        yield from image_batches(paths, spec, batch_size=64, order=order)

    count = len(paths) if order is None else len(order)
    rows = tf.TensorSpec((None, *spec.image_size, 3), tf.uint8)
    dataset = tf.data.Dataset.from_generator(images, output_signature=rows).unbatch()
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(64)


def stacked(batch: Sequence[np.ndarray | ImageError]) -> np.ndarray:
    """Return uint8 (n, height, width, 3) of a batch, or raise the first error in it."""
    for image in batch:
        if isinstance(image, ImageError):
            raise image
    return np.stack([image for image in batch if not isinstance(image, ImageError)])


def threads() -> int:
    """Return the number of threads that decode: one more than there are cores, as one may wait for the disk."""
    return min(16, (os.cpu_count() or 1) + 1)


def _remembered(sources: Sequence[Any], spec: ImageSpec) -> list[np.ndarray | ImageError]:
    keys = [file_key(source, spec) for source in sources]
    images: list[np.ndarray | ImageError | None] = [PIXEL_MEMORY.get(key) for key in keys]
    missing = [number for number, image in enumerate(images) if image is None]
    for number, image in zip(missing, load_images([sources[number] for number in missing], spec)):
        images[number] = image
        if not isinstance(image, ImageError):
            PIXEL_MEMORY.put(keys[number], image)
    return [image for image in images if image is not None]
