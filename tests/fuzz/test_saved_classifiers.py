"""Mutated files of saved classifiers: an error of the library, or the predictions of the classifier that was saved."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.fuzz.limits import memory_limit, time_limit
from tests.fuzz.mutator import case_count, generator, mutate
from tests.images.image_corpus import sample_image
from tests.test_metadata import signed
from tests.training.conftest import small_classifier
from transferkit._utils.hashing import sha256_of
from transferkit.engines import EngineError
from transferkit.errors import ArtifactError

_OTHER_VALUES = (None, True, -1, 0, 3, 10**9, 1e300, float("nan"), "", "x", [], [1, 2], {}, {"class_name": "Dense"})


@pytest.fixture(scope="module")
def saved(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tk.DatasetBuilder(synthetic, image_size=(32, 32), batch_size=16, progress=False).build()
    trainer = tk.Trainer(small_classifier())
    trainer.fit(data, epochs=1, verbose=0)
    return trainer.save(tmp_path_factory.mktemp("saved") / "classifier")


def predictions(folder: Path) -> np.ndarray | None:
    """Return the predictions of a saved classifier, or None when it is refused or cannot be run."""
    try:
        with time_limit(2):
            return tk.load(folder, engine="keras").predict(sample_image()).probability_array
    except (ArtifactError, EngineError):
        return None
    except ValueError as error:
        assert str(error).startswith("The outputs of a model must not be NaN.")
        return None


@pytest.mark.parametrize("name", ["transferkit.json", "model.keras"])
def test_mutated_file_is_refused_or_changes_nothing(saved: Path, tmp_path: Path, name: str) -> None:
    expected, rng = predictions(saved), generator(3)
    folder = Path(shutil.copytree(saved, tmp_path / "classifier"))
    seed = (saved / name).read_bytes()
    with memory_limit():
        for _ in range(case_count(300)):
            (folder / name).write_bytes(mutate(seed, rng))
            found = predictions(folder)
            assert found is None or np.array_equal(found, expected)


@pytest.mark.parametrize("part", [None, "config.json", "metadata.json", "model.weights.h5"])
def test_mutated_model_with_valid_checksum_is_refused_or_works(saved: Path, tmp_path: Path, part: str | None) -> None:
    rng = generator(4)
    folder = Path(shutil.copytree(saved, tmp_path / "classifier"))
    values = json.loads((saved / "transferkit.json").read_text())
    seed = (saved / "model.keras").read_bytes()
    with memory_limit():
        for _ in range(case_count(40)):
            model = folder / "model.keras"
            model.write_bytes(mutate(seed, rng) if part is None else with_mutated_part(seed, part, rng))
            (folder / "transferkit.json").write_text(signed({**values, "model_sha256": sha256_of(model)}))
            found = predictions(folder)
            assert found is None or found.shape == (2,)


def mutate_part(part: str, data: bytes, rng: np.random.Generator) -> bytes:
    """Return `data` after a mutation; half of the JSON texts stay valid, and one of their values is another."""
    if not part.endswith(".json") or rng.random() < 0.5:
        return mutate(data, rng)
    values = json.loads(data)
    places = [*_places(values)]
    container, key = places[int(rng.integers(len(places)))]
    container[key] = _OTHER_VALUES[int(rng.integers(len(_OTHER_VALUES)))]
    return json.dumps(values).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of each value inside of a JSON value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def with_mutated_part(archive: bytes, part: str, rng: np.random.Generator) -> bytes:
    """Return a zip archive whose member `part` is mutated, with valid checksums."""
    contents = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(contents, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, mutate_part(name, data, rng) if name == part else data)
    return contents.getvalue()
