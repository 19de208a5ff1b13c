"""From a file to an image of the wanted size: how pixels are made, as a record, and the function that makes them."""

from __future__ import annotations

import dataclasses
import os
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit._checks import check_choice, check_image_size
from transferkit.data.decode import decode, read_bytes
from transferkit.errors import ImageError

__all__ = ["PixelSpec", "load_pixels", "pixel_batches", "remember_pixels"]

RESIZES = ("stretch", "crop", "pad")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
# Changes whenever the same file would give other pixels than before, so that nothing stored is taken for the new.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class PixelSpec:
    """How a file becomes an image: the same in training, evaluation, prediction and export.

    Args:
        image_size: (height, width) in pixels.
        resize: "stretch" to the size whatever the proportions, "crop" the middle, or "pad" with black.
        interpolation: as `tf.image.resize` names it.
        antialias: whether shrinking averages over all pixels.
        crop_fraction: with "crop", the part of the shorter side that is kept, in (0, 1].
        exact: whether a large JPEG is decoded at full size, where half, a quarter or an eighth of it would do.

    Raises:
        ValueError: when an argument is out of its range.
    """

    image_size: tuple[int, int]
    resize: str = "stretch"
    interpolation: str = "bilinear"
    antialias: bool = False
    crop_fraction: float = 1.0
    exact: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", check_image_size("image_size", self.image_size))
        check_choice("resize", self.resize, RESIZES)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(f"`crop_fraction` must be in (0, 1]. Received: {self.crop_fraction!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**dataclasses.asdict(self), "image_size": list(self.image_size)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PixelSpec:
        """Return the spec that `to_dict` described."""
        return cls(**{**values, "image_size": tuple(values["image_size"])})

    def identity(self) -> str:
        """Return a text that changes whenever the pixels could."""
        return f"{_VERSION}:{sorted(self.to_dict().items())!r}"


def load_pixels(source: Any, spec: PixelSpec) -> np.ndarray:
    """Return one image as uint8 (height, width, 3) of the size of `spec`.

    Args:
        source: path, contents of a file, or pixels (height, width, 3) in [0, 255].
        spec: how pixels are made.

    Raises:
        ImageError: when the file cannot be read.
    """
    if isinstance(source, np.ndarray):
        image = _checked(source)
    else:
        name, data = read_bytes(source)
        # The scale must not depend on what is cropped away: the wanted side is that of the whole picture.
        wanted = 0 if spec.exact else int(max(spec.image_size) / spec.crop_fraction)
        image = decode(data, name, wanted=wanted)
    return _resize(image, spec)


def pixel_batches(
    sources: Sequence[Any], spec: PixelSpec, *, batch_size: int, order: Sequence[int] | np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield uint8 (n, height, width, 3): the images of `sources` in `order`, decoded ahead in threads.

    What was decoded once is taken from memory the next time, within a limit for the whole process.

    Raises:
        ImageError: for the first file that cannot be read.
    """
    indices = range(len(sources)) if order is None else order
    chunks = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    pending: deque[list[Future[np.ndarray]]] = deque()
    with ThreadPoolExecutor(max_workers=_threads()) as pool:
        try:
            for chunk in chunks:
                pending.append([pool.submit(_remembered, sources[index], spec) for index in chunk])
                # Three batches ahead: enough to keep the threads busy, little enough to keep memory flat.
                if len(pending) > 3:
                    yield np.stack([future.result() for future in pending.popleft()])
            while pending:
                yield np.stack([future.result() for future in pending.popleft()])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _threads() -> int:
    return min(16, (os.cpu_count() or 1) + 1)


def _checked(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ImageError("<array>", f"pixels must have the shape (height, width, 3), not {image.shape}")
    return image


def _resize(image: np.ndarray, spec: PixelSpec) -> np.ndarray:
    height, width = spec.image_size
    if spec.resize == "crop":
        image = _middle(image, height / width, spec.crop_fraction)
    elif spec.resize == "pad":
        return _padded(image, spec)
    if image.shape[:2] == (height, width):
        return _to_uint8(image)
    return _to_uint8(_scaled(image, (height, width), spec))


def _scaled(image: np.ndarray, size: tuple[int, int], spec: PixelSpec) -> np.ndarray:
    if spec.interpolation == "bilinear" and not spec.antialias:
        # What tf.image.resize comes to in this case, without its checks, which take as long as the resizing.
        return tf.raw_ops.ResizeBilinear(images=image[None], size=size, half_pixel_centers=True).numpy()[0]
    return tf.image.resize(image, size, spec.interpolation, antialias=spec.antialias).numpy()


def _middle(image: np.ndarray, proportion: float, fraction: float) -> np.ndarray:
    """Return the largest middle part whose height is `proportion` times its width, times `fraction`."""
    height, width = image.shape[:2]
    kept_height = max(1, round(min(height, width * proportion) * fraction))
    kept_width = max(1, round(min(width, height / proportion) * fraction))
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return image[top : top + kept_height, left : left + kept_width]


def _padded(image: np.ndarray, spec: PixelSpec) -> np.ndarray:
    height, width = spec.image_size
    scale = min(height / image.shape[0], width / image.shape[1])
    inner = max(1, min(height, round(image.shape[0] * scale))), max(1, min(width, round(image.shape[1] * scale)))
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas[top : top + inner[0], left : left + inner[1]] = _to_uint8(_scaled(image, inner, spec))
    return canvas


def _to_uint8(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


class _PixelMemory:
    """The images decoded last, in memory, up to a limit in bytes; for files, told apart by size and time of change."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._images: OrderedDict[Any, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any) -> np.ndarray | None:
        with self._lock:
            image = self._images.get(key)
            if image is not None:
                self._images.move_to_end(key)
            return image

    def put(self, key: Any, image: np.ndarray) -> None:
        with self._lock:
            # A pass over more than fits would push out everything before it is read again; then what is there stays.
            if key in self._images or self._bytes + image.nbytes > self._limit:
                return
            self._images[key] = image
            self._bytes += image.nbytes

    def clear(self) -> None:
        with self._lock:
            self._images.clear()
            self._bytes = 0


_MEMORY = _PixelMemory(limit=512 << 20)


def _remembered(source: Any, spec: PixelSpec) -> np.ndarray:
    key = _file_key(source, spec)
    image = None if key is None else _MEMORY.get(key)
    if image is None:
        image = load_pixels(source, spec)
        if key is not None:
            image.setflags(write=False)
            _MEMORY.put(key, image)
    return image


def remember_pixels(path: str, spec: PixelSpec) -> bytes:
    """Decode a file into the memory that `pixel_batches` reads, and return its contents.

    Raises:
        ImageError: when the file cannot be read.
    """
    key = _file_key(path, spec)
    data = read_bytes(path)[1]
    try:
        image = load_pixels(data, spec)
    except ImageError as error:
        raise ImageError(path, error.reason) from error
    if key is not None:
        _MEMORY.put(key, image)
    return data


def _file_key(source: Any, spec: PixelSpec) -> Any:
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        status = os.stat(source)
    except OSError:
        return None
    return os.fspath(source), status.st_size, status.st_mtime_ns, status.st_ino, spec
