"""Saving and loading: the same answers, plain Keras files, and nothing broken is believed."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data


@pytest.fixture(scope="module")
def data(drawn: Path) -> Data:
    return tk.DatasetBuilder(drawn, test=0.5, image_size=(32, 32), batch_size=16).build()


@pytest.fixture
def trainer(data: Data) -> tk.Trainer:
    trainer = tk.Trainer(small_classifier(tk.AugmentationBlock(rotation=0.2)), learning_rate=1e-2)
    trainer.fit(data, epochs=1, verbose=0)
    return trainer


@pytest.fixture
def saved(trainer: tk.Trainer, tmp_path: Path) -> Path:
    return trainer.save(tmp_path / "classifier")


def test_the_loaded_classifier_says_the_same(trainer: tk.Trainer, saved: Path, data: Data) -> None:
    paths = data.files["test"]
    loaded = tk.load(saved).predict(paths)
    assert [said.path for said in loaded] == paths
    for mine, theirs in zip(loaded, trainer.predict(paths)):
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-6)
        assert mine.label == theirs.label


def test_the_model_is_a_plain_keras_file_without_code_of_ours(saved: Path) -> None:
    config = json.dumps(keras.saving.load_model(saved / "model.keras").get_config(), default=str)
    assert "transferkit" not in config


def test_the_record_tells_how_it_was_made(saved: Path) -> None:
    record = json.loads((saved / "transferkit.json").read_text())
    assert record["class_names"] == ["cats", "dogs"]
    assert record["pixels"]["image_size"] == [32, 32]
    assert record["training"]["phases"][0]["name"] == "frozen"
    assert record["training"]["augmentation"]["rotation"] == 0.2
    assert record["training"]["threads"] >= 1


def test_saving_again_takes_the_place_of_the_old(trainer: tk.Trainer, saved: Path) -> None:
    trainer.save(saved)
    assert sorted(path.name for path in saved.parent.iterdir()) == ["classifier"]


def test_nothing_of_the_users_is_replaced(trainer: tk.Trainer, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(tk.ArtifactError, match="must be new, empty, or a classifier saved before"):
        trainer.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_failed_save_leaves_the_old_one_whole(
    trainer: tk.Trainer, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        trainer.save(saved)
    monkeypatch.undo()
    assert tk.load(saved).class_names == ("cats", "dogs")
    assert sorted(path.name for path in saved.parent.iterdir()) == ["classifier"]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(tk.ArtifactError, match="which has no transferkit.json. Check the path"):
        tk.load(tmp_path / "nowhere")


def test_a_cut_model_file_is_found_out(saved: Path) -> None:
    model = saved / "model.keras"
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(tk.ArtifactError, match="its checksum differs"):
        tk.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "[" * 100_000])
def test_a_broken_record_is_found_out(saved: Path, text: str) -> None:
    (saved / "transferkit.json").write_text(text)
    with pytest.raises(tk.ArtifactError, match="must be a whole classifier"):
        tk.load(saved)


def test_a_newer_format_is_not_guessed_at(saved: Path) -> None:
    record = json.loads((saved / "transferkit.json").read_text())
    (saved / "transferkit.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(tk.ArtifactError, match="Received: format 99"):
        tk.load(saved)


def test_a_model_that_carries_code_is_refused(saved: Path) -> None:
    model = saved / "model.keras"
    images = keras.Input((32, 32, 3))
    hostile = keras.Model(images, keras.layers.Lambda(lambda x: keras.ops.mean(x, axis=(1, 2)))(images))
    hostile.save(model)
    record = json.loads((saved / "transferkit.json").read_text())
    from transferkit._utils.files import sha256_of

    (saved / "transferkit.json").write_text(json.dumps({**record, "model_sha256": sha256_of(model)}))
    with pytest.raises(tk.ArtifactError, match="cannot be loaded"):
        tk.load(saved)
