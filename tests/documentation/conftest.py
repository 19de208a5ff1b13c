"""A working folder with the files that the pages expect, and a cache that they share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import pytest
from keras.src.backend import config
from keras.src.legacy.saving import legacy_h5_format

from transferkit.datasets import synthetic_cats_and_dogs

NO_TOP = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_160_no_top.h5"


@pytest.fixture(scope="session")
def expected_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the pages: train/, validation/, photos/, new_images/, photo.jpg and tables."""
    folder = tmp_path_factory.mktemp("expected") / "files"
    synthetic_cats_and_dogs(folder, training=24, validation=48, size=96)
    for name in ("photos", "images/train"):
        shutil.copytree(folder / "train", folder / name)
    shutil.copytree(folder / "validation", folder / "images" / "validation")
    (folder / "new_images").mkdir()
    for index, path in enumerate(sorted((folder / "validation").rglob("*.jpg"))[::8]):
        shutil.copy(path, folder / "new_images" / f"{index}.jpg")
    shutil.copy(folder / "validation" / "cats" / "cat.0.jpg", folder / "photo.jpg")
    for name in ("a", "b", "c"):
        shutil.copy(folder / "validation" / "dogs" / "dog.0.jpg", folder / f"{name}.jpg")
    write_tables(folder)
    return folder


def write_tables(folder: Path) -> None:
    """Write tables of the images of photos/: photos.csv with a label and a camera, tags.csv with one or two labels."""
    labels, tags = ["path,label,camera"], ["path,label"]
    for index, path in enumerate(sorted((folder / "photos").rglob("*.jpg"))):
        name = path.relative_to(folder).as_posix()
        labels.append(f"{name},{path.parent.name},{'AB'[index % 2]}")
        tags.append(f"{name},{path.parent.name}{'|outdoor' if index % 3 else ''}")
    (folder / "photos.csv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    (folder / "tags.csv").write_text("\n".join(tags) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def weights_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Keras with a weights file of MobileNetV2, so that the pages download nothing.

    The file has random weights, in the format of those of keras.applications.
    """
    folder = tmp_path_factory.mktemp("keras")
    (folder / "models").mkdir()
    model = keras.applications.MobileNetV2(input_shape=(160, 160, 3), include_top=False, weights=None)
    with h5py.File(folder / "models" / NO_TOP, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return folder


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages_cache")


@pytest.fixture
def working_folder(
    expected_files: Path, weights_home: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The current folder, with a copy of the files."""
    folder = tmp_path / "work"
    shutil.copytree(expected_files, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TRANSFERKIT_HOME", str(shared_cache))
    monkeypatch.setattr(config, "_KERAS_DIR", str(weights_home))
    yield folder
    keras.backend.clear_session()
