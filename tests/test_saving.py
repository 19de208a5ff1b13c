"""Saving and loading: equal predictions, plain Keras files, and an error for each damaged file."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import transferkit as tk
from tests.test_metadata import signed
from tests.training.conftest import small_classifier
from transferkit._utils.hashing import sha256_of
from transferkit.classifier import find_augmentation
from transferkit.data import Data
from transferkit.modeling.keras_graph import find_backbone


@pytest.fixture(scope="module")
def data(synthetic: Path) -> Data:
    return tk.DatasetBuilder(synthetic, test=0.5, image_size=(32, 32), batch_size=16).build()


@pytest.fixture
def trainer(data: Data) -> tk.Trainer:
    trainer = tk.Trainer(small_classifier(tk.AugmentationBlock(rotation=0.2)), learning_rate=1e-2)
    trainer.fit(data, epochs=1, verbose=0)
    return trainer


@pytest.fixture
def saved(trainer: tk.Trainer, tmp_path: Path) -> Path:
    return trainer.save(tmp_path / "classifier")


def metadata_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "transferkit.json").read_text())


def write_metadata(folder: Path, values: dict[str, Any]) -> None:
    (folder / "transferkit.json").write_text(signed(values))


def replace_model(folder: Path, model: keras.Model) -> None:
    """Replace the model of a saved classifier, with the right checksums."""
    model.save(folder / "model.keras")
    write_metadata(folder, {**metadata_of(folder), "model_sha256": sha256_of(folder / "model.keras")})


def check_equal_predictions(predictor: tk.Predictor, trainer: tk.Trainer, paths: list[str]) -> None:
    predictions = predictor.predict(paths)
    assert [prediction.path for prediction in predictions] == paths
    for actual, expected in zip(predictions, trainer.predict(paths)):
        np.testing.assert_allclose(actual.probability_array, expected.probability_array, atol=1e-6)
        assert actual.label == expected.label


def test_load_predictions_are_equal(trainer: tk.Trainer, saved: Path, data: Data) -> None:
    check_equal_predictions(tk.load(saved), trainer, data.files["test"])


def test_load_format_1_predictions_are_equal(trainer: tk.Trainer, saved: Path, data: Data) -> None:
    values = metadata_of(saved)
    pixels = values.pop("image_spec")
    pixels["exact"] = pixels.pop("full_decode")
    del values["sha256"]
    (saved / "transferkit.json").write_text(json.dumps({**values, "format": 1, "pixels": pixels}))
    predictor = tk.load(saved)
    assert predictor.image_spec == data.image_spec and predictor.class_names == ("cats", "dogs")
    check_equal_predictions(predictor, trainer, data.files["test"])


def test_save_model_is_plain_keras(saved: Path) -> None:
    config = json.dumps(keras.saving.load_model(saved / "model.keras").get_config(), default=str)
    assert "transferkit" not in config


def test_save_metadata(saved: Path) -> None:
    values = metadata_of(saved)
    assert values["format"] == 5
    assert values["class_names"] == ["cats", "dogs"]
    assert values["image_spec"]["image_size"] == [32, 32]
    assert values["model_sha256"] == sha256_of(saved / "model.keras")
    assert values["training"]["phases"][0]["name"] == "frozen"
    assert values["training"]["augmentation"]["rotation"] == 0.2
    assert values["training"]["threads"] >= 1


def test_save_again_replaces_folder(trainer: tk.Trainer, saved: Path) -> None:
    trainer.save(saved)
    assert sorted(path.name for path in saved.parent.iterdir()) == ["classifier"]


@pytest.mark.parametrize("name", ["new", "classifier"])
def test_save_into_folder_with_other_files_raises(trainer: tk.Trainer, saved: Path, name: str) -> None:
    folder = saved.with_name(name)
    folder.mkdir(exist_ok=True)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(tk.ArtifactError, match="must be new, empty, or a classifier .*which has 'thesis.txt'. Choose"):
        trainer.save(folder)
    assert (folder / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["cats.keras", "cats.H5"])
def test_save_to_name_of_file_raises(trainer: tk.Trainer, tmp_path: Path, name: str) -> None:
    with pytest.raises(tk.ArtifactError, match=r"must be the name of a folder.*Give 'cats', or .*trainer.model.save\("):
        trainer.save(tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_save_failed_keeps_old_folder(trainer: tk.Trainer, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        trainer.save(saved)
    monkeypatch.undo()
    assert tk.load(saved).class_names == ("cats", "dogs")
    assert sorted(path.name for path in saved.parent.iterdir()) == ["classifier"]


def dropout_of(model: keras.Model) -> list[keras.layers.Dropout]:
    return [layer for layer in find_backbone(model).layers if isinstance(layer, keras.layers.Dropout)]


def classifier_with_dropout(rate: float) -> keras.Model:
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, name="first")(images)
    x = keras.layers.Dropout(rate)(x)
    base = keras.Model(images, keras.layers.Conv2D(8, 3, name="second")(x), name="base")
    return tk.build_classifier(tk.BackboneFactory.create(base, preprocessing=None), tk.ClassifierHead(2))


def test_save_keeps_dropout_rates(data: Data, tmp_path: Path) -> None:
    trainer = tk.Trainer(classifier_with_dropout(0.3))
    trainer.fit(data, epochs=1, verbose=0)
    assert [layer.rate for layer in dropout_of(trainer.model)] == [0.0]
    folder = trainer.save(tmp_path / "classifier")
    assert [layer.rate for layer in dropout_of(trainer.model)] == [0.0]
    plain = keras.saving.load_model(folder / "model.keras")
    assert [layer.rate for layer in dropout_of(plain)] == [0.3]


def test_load_and_unfreeze_restores_dropout(data: Data, tmp_path: Path) -> None:
    trainer = tk.Trainer(classifier_with_dropout(0.3))
    trainer.fit(data, epochs=1, verbose=0)
    loaded = tk.load(trainer.save(tmp_path / "classifier")).model
    # Frozen, it does not drop features in training.
    assert [layer.rate for layer in dropout_of(loaded)] == [0.0]
    again = tk.Trainer(loaded)
    again.fit(data, epochs=1, verbose=0)
    assert [layer.rate for layer in dropout_of(loaded)] == [0.0]
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    base = find_backbone(loaded)
    np.testing.assert_array_equal(base(images, training=True), base(images, training=False))
    again.fine_tune(data, epochs=1, unfreeze_from=0, verbose=0)
    assert [layer.rate for layer in dropout_of(loaded)] == [0.3]
    # Saved, loaded and saved once more, the rate is the same.
    second = tk.load(again.save(tmp_path / "second")).model
    assert [layer.rate for layer in dropout_of(second)] == [0.3]


def test_one_augmentation_block_in_two_classifiers(data: Data, tmp_path: Path) -> None:
    block = tk.AugmentationBlock(rotation=0.2, fill_mode="constant")
    for number in range(2):
        trainer = tk.Trainer(small_classifier(block), learning_rate=1e-2)
        trainer.fit(data, epochs=1, verbose=0)
        assert find_augmentation(trainer.model).get_config() == block.get_config()
        predictor = tk.load(trainer.save(tmp_path / str(number)))
        assert find_augmentation(predictor.model) is None
        check_equal_predictions(predictor, trainer, data.files["test"])


def test_load_missing_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(tk.ArtifactError, match="there is no such folder. Check the path"):
        tk.load(tmp_path / "nowhere")


def test_load_missing_model_raises(saved: Path) -> None:
    (saved / "model.keras").unlink()
    with pytest.raises(tk.ArtifactError, match="model.keras is missing"):
        tk.load(saved)


def test_load_truncated_model_raises(saved: Path) -> None:
    model = saved / "model.keras"
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(tk.ArtifactError, match="its checksum differs"):
        tk.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 2}', "[" * 100_000])
def test_load_damaged_metadata_raises(saved: Path, text: str) -> None:
    (saved / "transferkit.json").write_text(text)
    with pytest.raises(tk.ArtifactError, match="must be a complete classifier"):
        tk.load(saved)


@pytest.mark.parametrize("change", [{"class_names": ["a", "b", "c"]}, {"activation": "tanh"}, {"class_names": None}])
def test_load_metadata_of_other_model_raises(saved: Path, change: dict[str, Any]) -> None:
    write_metadata(saved, {**metadata_of(saved), **change})
    with pytest.raises(tk.ArtifactError, match="must be a complete classifier"):
        tk.load(saved)


def test_load_newer_format_raises(saved: Path) -> None:
    write_metadata(saved, {**metadata_of(saved), "format": 99})
    with pytest.raises(tk.ArtifactError, match="Received: format 99"):
        tk.load(saved)


def test_load_unknown_engine_raises(saved: Path) -> None:
    with pytest.raises(ValueError, match="`engine` must be one of 'auto', .*Received: 'warp-drive'") as error:
        tk.load(saved, engine="warp-drive")
    # The folder is valid; the argument is not.
    assert not isinstance(error.value, tk.ArtifactError)
    assert tk.load(saved, engine="keras").engine == "keras"


def test_load_model_with_code_raises(saved: Path) -> None:
    images = keras.Input((32, 32, 3))
    replace_model(saved, keras.Model(images, keras.layers.Lambda(lambda x: keras.ops.mean(x, axis=(1, 2)))(images)))
    with pytest.raises(tk.ArtifactError, match="cannot be loaded"):
        tk.load(saved)


def without_weights_of(model: Path, group: str) -> None:
    """Delete the weights of one group of layers in a .keras file."""
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    contents = io.BytesIO(members["model.weights.h5"])
    with h5py.File(contents, "r+") as file:
        del file[group]
    with zipfile.ZipFile(model, "w") as archive:
        for name, data in {**members, "model.weights.h5": contents.getvalue()}.items():
            archive.writestr(name, data)


def test_load_model_with_missing_weights_raises(saved: Path) -> None:
    model = saved / "model.keras"
    with zipfile.ZipFile(model) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        groups = ["layers", *(f"layers/{name}" for name, layer in file["layers"].items() if has_weights(layer))]
    assert len(groups) > 1
    original = model.read_bytes()
    for group in groups:
        model.write_bytes(original)
        without_weights_of(model, group)
        write_metadata(saved, {**metadata_of(saved), "model_sha256": sha256_of(model)})
        with pytest.raises(tk.ArtifactError, match="model.keras cannot be loaded"):
            tk.load(saved)


def has_weights(group: h5py.Group) -> bool:
    found: list[h5py.Dataset] = []
    group.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return bool(found)


def other_model(shape: tuple[int, ...] = (32, 32, 3), *, pooled: bool = True, inputs: int = 1) -> keras.Model:
    images = [keras.Input(shape) for _ in range(inputs)]
    outputs = keras.layers.Dense(1)(keras.layers.Average()(images) if inputs > 1 else images[0])
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(outputs) if pooled else outputs)


@pytest.mark.parametrize(
    "model",
    [
        other_model((33, 32, 3)),
        other_model((32, 32, 1)),
        other_model(pooled=False),
        other_model(inputs=2),
    ],
)
def test_load_other_model_raises(saved: Path, model: keras.Model) -> None:
    replace_model(saved, model)
    with pytest.raises(tk.ArtifactError, match="its metadata do not match its model"):
        tk.load(saved)


def test_load_model_of_any_image_size(saved: Path) -> None:
    replace_model(saved, other_model((None, None, 3)))
    assert tk.load(saved).image_spec.image_size == (32, 32)


@pytest.mark.parametrize("name", ["model.keras", "transferkit.json"])
def test_load_special_file_raises(saved: Path, name: str) -> None:
    (saved / name).unlink()
    (saved / name).symlink_to("/dev/zero")
    with pytest.raises(tk.ArtifactError, match=name):
        tk.load(saved)


def test_save_with_report_writes_card_and_plot(trainer: tk.Trainer, saved: Path, data: Data) -> None:
    assert "No report was given" in (saved / "README.md").read_text()
    report = trainer.evaluate(data.test)
    trainer.save(saved, report=report)
    card = (saved / "README.md").read_text()
    assert f"| accuracy | {report.accuracy:.4f} |" in card and (saved / "evaluation.png").is_file()
    images = len(data.files["train"])
    assert f"{images:,} images were trained on." in card and data.files["train"][0] not in card
    other = tk.Report([0, 1], [[1.0, 0.0], [0.0, 1.0]], class_names=["a", "b"])
    with pytest.raises(ValueError, match=r"`report` must have the classes of the classifier. Received: \['a', 'b'\]"):
        trainer.save(saved, report=other)
    with pytest.raises(TypeError, match="`report` must be a Report. Received: float"):
        trainer.save(saved, report=0.9)
    assert tk.load(saved).class_names == ("cats", "dogs")
