"""The one way from a path, bytes or an array to an image array: header, decoder, resizing."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from transferkit._utils.checks import check_int
from transferkit._utils.hashing import content_hash
from transferkit._utils.parallel import ordered_map
from transferkit.errors import ImageError
from transferkit.images import numpy_decoder
from transferkit.images.files import read_bytes
from transferkit.images.header import DecodeVariant, ImageHeader, read_header
from transferkit.images.limits import check_decodable, max_pixels_allowed
from transferkit.images.memory_cache import MemoryImageCache, file_version
from transferkit.images.orientation import apply_exif_orientation
from transferkit.images.pillow_decoder import decode_jpeg_or_png, decode_with_pillow
from transferkit.images.pixels import is_pixels, to_rgb_array
from transferkit.images.spec import ImageSpec
from transferkit.images.unsupported import undecodable_reason

# Images per call of a decoder: large enough to hide Python, small enough to be shared among threads.
_CHUNK = 16


@dataclasses.dataclass(frozen=True)
class LoadedImage:
    """An image with the metadata found while reading it.

    Attributes:
        image: uint8 (height, width, 3).
        thumbnail: float32 (8, 9), gray; None where it was not requested or TensorFlow is not installed.
        format: as in `ImageHeader`; "" for an array.
        size: (height, width) of the original image.
        content: the bytes of the file; empty for an array.
    """

    image: np.ndarray
    thumbnail: np.ndarray | None
    format: str
    size: tuple[int, int]
    content: bytes

    @property
    def content_hash(self) -> bytes:
        """32 bytes that identify the file's contents."""
        return content_hash(self.content)


@dataclasses.dataclass(frozen=True)
class _EncodedImage:
    name: str
    data: bytes
    header: ImageHeader
    scale_denominator: int

    @property
    def variant(self) -> DecodeVariant:
        return DecodeVariant(self.header.format, self.scale_denominator, self.header.orientation != 1)


def read_image(path_or_bytes: Any, *, max_pixels: int | None = None) -> np.ndarray:
    """Read an image at its full size: upright, in sRGB, alpha composited on white, 16 bits and floats scaled to 8 bits.

    JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, ICO and PPM are detected by their contents, as is HEIC with the extra `heif`;
    of animations the first frame is read.

    Args:
        path_or_bytes: str, path or bytes. A file or its contents.
        max_pixels: int >= 1. Larger images are refused before they are decoded. Defaults to None,
            $TRANSFERKIT_MAX_PIXELS or 89,478,485.

    Returns:
        uint8 array (height, width, 3), RGB.

    Raises:
        ImageError: (a ValueError) when the image cannot be read; the message has the file and the reason.
        ValueError: when `max_pixels` is out of range.

    Example:

    >>> read_image(b"<html></html>")
    Traceback (most recent call last):
    ...
    transferkit.errors.ImageError: Cannot read image '<bytes>': it is an HTML page
    """
    max_pixels = max_pixels_allowed() if max_pixels is None else check_int("max_pixels", max_pixels)
    name, data = read_bytes(path_or_bytes)
    header = _checked_header(data, name)
    check_decodable(name, header, 1, max_pixels)
    if not header.tf_decodable:
        return decode_with_pillow(data, name, max_pixels)
    encoded = _EncodedImage(name, data, header, 1)
    decoder = _tf_decoder()
    if decoder is None:
        return np.ascontiguousarray(apply_exif_orientation(decode_jpeg_or_png(data, name, 1), header.orientation))
    try:
        return decoder.decode(data, encoded.variant, header.orientation)
    except decoder.DecodeError as error:
        raise ImageError(name, "it is truncated or corrupt") from error


def load_image(source: Any, spec: ImageSpec) -> np.ndarray:
    """Load one image as uint8 (height, width, 3) of the size of `spec`.

    Args:
        source: str, path, bytes, Pillow image, or array (height, width, 3), RGB in [0, 255].
        spec: `ImageSpec`. How the image is decoded and resized.

    Raises:
        ImageError: when the image cannot be read.
    """
    return stack_images(load_images([source], spec))[0]


def load_images(sources: Sequence[Any], spec: ImageSpec) -> list[np.ndarray | ImageError]:
    """Return for each source what `load_image` returns, or the error that it raises.

    Args:
        sources: sequence of paths, bytes or arrays, as in `load_image`.
        spec: `ImageSpec`, how they are resized.

    Returns:
        A list of uint8 (height, width, 3), or ImageError, in the order of `sources`.
    """
    loaded = load_with_metadata(sources, spec, with_thumbnail=False)
    return [image if isinstance(image, ImageError) else image.image for image in loaded]


def load_with_metadata(
    sources: Sequence[Any], spec: ImageSpec, *, with_thumbnail: bool = True
) -> list[LoadedImage | ImageError]:
    """Load several images in this thread; files of one variant are decoded in one call."""
    results: dict[int, LoadedImage | ImageError] = {}
    groups: dict[DecodeVariant, list[int]] = {}
    encoded: dict[int, _EncodedImage] = {}
    for index, source in enumerate(sources):
        try:
            image = _open_image(source, spec, with_thumbnail)
        except ImageError as error:
            results[index] = error
            continue
        if isinstance(image, _EncodedImage):
            encoded[index] = image
            groups.setdefault(image.variant, []).append(index)
        else:
            results[index] = image
    for members in groups.values():
        results.update(zip(members, _decode([encoded[index] for index in members], spec, with_thumbnail)))
    return [results[index] for index in range(len(sources))]


def load_batch(sources: Sequence[Any], spec: ImageSpec, cache: MemoryImageCache | None = None) -> np.ndarray:
    """Load a few images in this thread or from `cache`; return uint8 (n, height, width, 3).

    Raises:
        ImageError: for the first file that cannot be read.
    """
    return stack_images(_load_cached(sources, spec, cache))


def image_batch_lists(
    sources: Sequence[Any],
    spec: ImageSpec,
    *,
    batch_size: int,
    order: Sequence[int] | np.ndarray | None = None,
    cache: MemoryImageCache | None = None,
) -> Iterator[list[np.ndarray | ImageError]]:
    """Yield lists of `batch_size` images or errors (the last may be shorter), decoded ahead in threads."""
    indices = np.arange(len(sources)) if order is None else np.asarray(order)
    chunk = min(_CHUNK, batch_size)
    batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    chunks = (batch[start : start + chunk] for batch in batches for start in range(0, len(batch), chunk))
    # A few batches ahead keep the threads busy and the memory flat.
    ahead = -(-batch_size // chunk) * max(2, 64 // batch_size)
    loaded = ordered_map(lambda part: _load_cached([sources[i] for i in part], spec, cache), chunks, ahead=ahead)
    with contextlib.closing(loaded):
        for batch in batches:
            images: list[np.ndarray | ImageError] = []
            while len(images) < len(batch):
                images += next(loaded)
            yield images


def image_batches(
    sources: Sequence[Any], spec: ImageSpec, *, batch_size: int, order: Sequence[int] | np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield uint8 (n, height, width, 3): the images of `sources` in `order`, decoded ahead in threads.

    Raises:
        ImageError: for the first file that cannot be read.
    """
    return map(stack_images, image_batch_lists(sources, spec, batch_size=batch_size, order=order))


def content_hashes(paths: Sequence[str]) -> list[bytes]:
    """Return 32 bytes for each file that identify its contents, in order.

    Raises:
        ImageError: for the first file that cannot be read.
    """

    def hash_chunk(start: int) -> list[bytes]:
        return [content_hash(read_bytes(path)[1]) for path in paths[start : start + 64]]

    return [digest for chunk in ordered_map(hash_chunk, range(0, len(paths), 64)) for digest in chunk]


def stack_images(images: Sequence[np.ndarray | ImageError]) -> np.ndarray:
    """Return uint8 (n, height, width, 3), or raise the first error in `images`."""
    for image in images:
        if isinstance(image, ImageError):
            raise image
    return np.stack([image for image in images if not isinstance(image, ImageError)])


def _load_cached(
    sources: Sequence[Any], spec: ImageSpec, cache: MemoryImageCache | None
) -> list[np.ndarray | ImageError]:
    if cache is None:
        return load_images(sources, spec)
    keys = [file_version(source, spec) for source in sources]
    images: list[np.ndarray | ImageError | None] = [cache.get(key) for key in keys]
    missing = [index for index, image in enumerate(images) if image is None]
    loaded = load_images([sources[index] for index in missing], spec) if missing else ()
    for index, image in zip(missing, loaded):
        images[index] = image
        if not isinstance(image, ImageError):
            cache.put(keys[index], image)
    return [image for image in images if image is not None]


def _open_image(source: Any, spec: ImageSpec, with_thumbnail: bool) -> _EncodedImage | LoadedImage:
    """Return a file that awaits decoding in a group, or a loaded image where it is decoded by itself."""
    if is_pixels(source):
        return _resize(LoadedImage(to_rgb_array(source), None, "", (0, 0), b""), spec, with_thumbnail)
    name, data = read_bytes(source)
    header = _checked_header(data, name)
    scale = spec.jpeg_scale_denominator(min(header.width, header.height)) if header.format == "jpeg" else 1
    max_pixels = max_pixels_allowed()
    check_decodable(name, header, scale, max_pixels)
    if header.tf_decodable:
        return _EncodedImage(name, data, header, scale)
    decoded = decode_with_pillow(data, name, max_pixels, scale)
    loaded = _resize(LoadedImage(decoded, None, header.format, (0, 0), data), spec, with_thumbnail)
    return loaded if scale == 1 else dataclasses.replace(loaded, size=_full_size(header, decoded, scale))


def _full_size(header: ImageHeader, decoded: np.ndarray, scale: int) -> tuple[int, int]:
    """Return the upright (height, width) of a file that was decoded at one over `scale` of its size."""
    is_upright = decoded.shape[:2] == (-(-header.height // scale), -(-header.width // scale))
    return (header.height, header.width) if is_upright else (header.width, header.height)


def _checked_header(data: bytes, name: str) -> ImageHeader:
    """Return the header, or raise an ImageError for a type that cannot be decoded."""
    header = read_header(data)
    if header.format in ("", "tiff", "avif", "heif") and (reason := undecodable_reason(name, data)):
        raise ImageError(name, reason)
    return header


def _tf_decoder(spec: ImageSpec | None = None, *, with_thumbnail: bool = False) -> Any:
    """Return the module of the TensorFlow decoder, or None where NumPy and Pillow decode.

    Their pixels are the same. They decode where TensorFlow is not installed, and where nothing has imported it yet,
    which would take longer than to decode thousands of images.
    """
    if "tensorflow" not in sys.modules and not with_thumbnail and (spec is None or numpy_decoder.supports(spec)):
        return None
    try:
        from transferkit.images import tf_decoder
    except ImportError:
        return None
    return tf_decoder


def _resize(decoded: LoadedImage, spec: ImageSpec, with_thumbnail: bool) -> LoadedImage:
    """Return a decoded image with its size, resized as `spec` describes it."""
    size = decoded.image.shape[0], decoded.image.shape[1]
    decoder, thumbnail = _tf_decoder(spec, with_thumbnail=with_thumbnail), None
    if decoder is None:
        resized = numpy_decoder.resize_array(decoded.image, spec)
    else:
        resized, thumbnail = decoder.resize_array(decoded.image, spec)
    return dataclasses.replace(decoded, image=resized, thumbnail=thumbnail, size=size)


def _decode(files: list[_EncodedImage], spec: ImageSpec, with_thumbnail: bool) -> list[LoadedImage | ImageError]:
    """Decode files of one variant."""
    decoder = _tf_decoder(spec, with_thumbnail=with_thumbnail)
    if decoder is None:
        return [_decode_with_numpy(file, spec) for file in files]
    scale = files[0].scale_denominator
    sizes = [file.header.upright_size for file in files]
    try:
        images, thumbnails = decoder.decode_and_resize(
            [file.data for file in files],
            files[0].variant,
            [file.header.orientation for file in files],
            spec,
            [spec.geometry(-(-height // scale), -(-width // scale)) for height, width in sizes],
            with_thumbnail,
        )
    except decoder.DecodeError:
        if len(files) == 1:
            return [ImageError(files[0].name, "it is truncated or corrupt")]
        # Decoding each file by itself finds the corrupt one and keeps the others.
        return [image for file in files for image in _decode([file], spec, with_thumbnail)]
    return [
        LoadedImage(image, thumbnail, file.header.format, size, file.data)
        for file, size, image, thumbnail in zip(files, sizes, images, thumbnails)
    ]


def _decode_with_numpy(file: _EncodedImage, spec: ImageSpec) -> LoadedImage | ImageError:
    try:
        image = decode_jpeg_or_png(file.data, file.name, file.scale_denominator)
    except ImageError as error:
        return error
    upright = apply_exif_orientation(image, file.header.orientation)
    resized = numpy_decoder.resize_array(upright, spec)
    return LoadedImage(resized, None, file.header.format, file.header.upright_size, file.data)
