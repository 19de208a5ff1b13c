"""`tk.load` of exported models, with TensorFlow and without."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from tests.exporting.conftest import SIZE, make_images, make_predictor
from transferkit.calibration import Calibration
from transferkit.calibration.distribution import reference_features
from transferkit.runtimes import RUNTIMES
from transferkit.runtimes.loading import NAMES
from transferkit.saving import save_classifier

WITHOUT_TENSORFLOW = (
    "import sys\n"
    "for name in ('tensorflow', 'keras', 'matplotlib', 'typing_extensions'):\n"
    "    sys.modules[name] = None\n"
)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return make_images(20)


@pytest.fixture(scope="module")
def folder(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved classifier with exported models for all runtimes."""
    features = reference_features(make_predictor().embed(images[:10]))
    calibration = Calibration(1.7, coverage=0.9, set_threshold=0.2, max_distance=0.05, training_features=features)
    predictor = make_predictor(calibration=calibration)
    saved = save_classifier(tmp_path_factory.mktemp("saved") / "classifier", predictor)
    for name in RUNTIMES:
        tk.export(predictor, saved / NAMES[name], format=name, features=True)
    return saved


@pytest.mark.parametrize("engine", RUNTIMES)
def test_runtime_predicts_like_keras(engine: str, folder: Path, images: np.ndarray) -> None:
    expected, loaded = tk.load(folder, engine="keras"), tk.load(folder, engine=engine)
    for mine, other in zip(loaded.predict(images), expected.predict(images)):
        assert (mine.label, mine.label_set, mine.in_distribution) == (
            other.label,
            other.label_set,
            other.in_distribution,
        )
        np.testing.assert_allclose(mine.probability_array, other.probability_array, atol=1e-5)
        assert mine.distance == pytest.approx(other.distance, abs=1e-4)
    np.testing.assert_allclose(loaded.embed(images), expected.embed(images), rtol=1e-4, atol=1e-3)
    assert loaded.predict(images[0]).label == expected.predict(images[0]).label
    assert loaded.engines_for(1) == [engine] and loaded.fingerprint() == tk.load(folder, engine=engine).fingerprint()


@pytest.mark.parametrize("engine", ["auto", *RUNTIMES])
def test_prediction_without_tensorflow(engine: str, folder: Path, tmp_path: Path) -> None:
    images = make_images(3)
    np.save(tmp_path / "images.npy", images)
    code = WITHOUT_TENSORFLOW + (
        "import json, numpy as np, transferkit as tk\n"
        f"predictor = tk.load({str(folder)!r}, engine={engine!r}, warm_up=True)\n"
        f"images = np.load({str(tmp_path / 'images.npy')!r})\n"
        f"predictor.predict_to(images, {str(tmp_path / 'out.csv')!r})\n"
        "print(json.dumps([one.to_dict() for one in predictor.predict(images)]), predictor.embed(images).shape[1])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    values, features = result.stdout.rsplit(" ", 1)
    expected = tk.load(folder, engine="keras").predict(images)
    for mine, other in zip(json.loads(values), expected):
        assert mine["label"] == other.label and mine["probability"] == pytest.approx(other.probability, abs=1e-5)
    assert int(features) == 64 and len((tmp_path / "out.csv").read_text().splitlines()) == 4


def test_exported_file_is_loaded_by_itself(folder: Path, images: np.ndarray, tmp_path: Path) -> None:
    shutil.copy(folder / "model.onnx", tmp_path / "ants.onnx")
    loaded = tk.load(tmp_path / "ants.onnx")
    prediction = loaded.predict(images[0])
    assert prediction.label == tk.load(folder).predict(images[0]).label
    # The features of the training images are in the saved folder.
    assert prediction.in_distribution is None and prediction.label_set is not None
    with pytest.raises(ValueError, match=r"`engine` must be 'auto' or 'onnx'.*Received: 'keras'"):
        tk.load(tmp_path / "ants.onnx", engine="keras")
    with pytest.raises(ValueError, match=r"`explain` requires a Keras model\. Received: a model of the runtime 'onnx'"):
        loaded.explain(images[0])


def test_model_without_features_cannot_embed(images: np.ndarray, tmp_path: Path) -> None:
    tk.export(make_predictor(), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="`embed` requires a model that was exported with its features"):
        tk.load(tmp_path / "model.onnx").embed(images)


def test_folder_without_exported_model_raises(tmp_path: Path) -> None:
    saved = save_classifier(tmp_path / "classifier", make_predictor())
    with pytest.raises(tk.ArtifactError, match=r"must have 'model.onnx' for engine='onnx'\. Received: none"):
        tk.load(saved, engine="onnx")
    code = WITHOUT_TENSORFLOW + (
        "import importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'tensorflow' else find(name)\n"
        f"import transferkit as tk\ntk.load({str(saved)!r})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        "or TensorFlow must be installed. Received: engine='auto', and exported models for no runtime" in result.stderr
    )


def test_model_of_another_classifier_raises(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    tk.export(make_predictor(4), tmp_path / "copy" / "model.onnx")
    with pytest.raises(tk.ArtifactError, match=r"model\.onnx was exported from another classifier"):
        tk.load(tmp_path / "copy", engine="onnx")


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x07" + bytes(100)])
@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
def test_damaged_file_raises(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(tk.ArtifactError, match="must be a complete exported model"):
        tk.load(tmp_path / name)


def test_saving_again_removes_exported_models(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    save_classifier(tmp_path / "copy", make_predictor())
    assert not {"model.onnx", "model.tflite", "openvino"} & {path.name for path in (tmp_path / "copy").iterdir()}


def test_save_with_formats(synthetic: Path, tmp_path: Path) -> None:
    data = tk.DatasetBuilder(synthetic, image_size=SIZE, progress=False).build()
    trainer = tk.Trainer(make_predictor(2).model)
    trainer.fit(data, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="`formats` must be one of"):
        trainer.save(tmp_path / "classifier", formats=["tfjs"])
    assert not (tmp_path / "classifier").exists()
    trainer.save(tmp_path / "classifier", formats=["onnx"])
    labels = [one.label for one in tk.load(tmp_path / "classifier", engine="onnx").predict(data.validation)]
    assert labels == [one.label for one in trainer.predict(data.validation)]
