"""Trainer.calibrate: better probabilities, the same everywhere, and gone after further training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import multi_label_data, small_classifier
from transferkit.data import Data


@pytest.fixture
def trainer(data: Data) -> tk.Trainer:
    trained = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trained.fit(data, epochs=5, verbose=0)
    return trained


def test_calibrate_lowers_the_loss_and_keeps_labels() -> None:
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (120, 32, 32, 3), np.uint8), generator.integers(0, 2, 120)
    parts = [(images[start : start + 40], labels[start : start + 40]) for start in (0, 40, 80)]
    data = tk.DatasetBuilder(parts[0], validation=parts[1], test=parts[2], image_size=32, batch_size=8).build()
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fit(data, epochs=2, verbose=0)
    # The labels are random, and the probabilities near 0 and 1.
    head = trainer.model.layers[-1]
    head.set_weights([100 * values for values in head.get_weights()])
    before, predicted = trainer.evaluate(data.test), trainer.predict(parts[2][0])
    calibration = trainer.calibrate(data)
    after, calibrated = trainer.evaluate(data.test), trainer.predict(parts[2][0])
    assert calibration.temperature > 2 and calibration.num_images == 40
    assert after.loss < before.loss and after.calibration_error < before.calibration_error
    assert after.accuracy == before.accuracy
    assert [one.label for one in predicted] == [one.label for one in calibrated]
    found = np.array([one.probability_array for one in calibrated])
    np.testing.assert_allclose(found, after.probabilities, atol=1e-4)


def test_calibrated_classifier_is_saved_and_loaded(data: Data, trainer: tk.Trainer, tmp_path: Path) -> None:
    calibration = trainer.calibrate(data, recall=0.9, accuracy=0.5, coverage=0.8)
    loaded = tk.load(trainer.save(tmp_path / "saved"))
    assert loaded.calibration == calibration
    for one, other in zip(trainer.predict(data.files["test"]), loaded.predict(data.files["test"])):
        assert (one.label, one.is_certain, one.label_set) == (other.label, other.is_certain, other.label_set)
        assert one.probability == pytest.approx(other.probability, abs=1e-5)
    values = loaded.predict(data.files["test"][0]).to_dict()
    assert isinstance(values["is_certain"], bool) and isinstance(values["label_set"], list)


def test_calibrated_distances_are_saved_and_loaded(data: Data, trainer: tk.Trainer, tmp_path: Path) -> None:
    calibration = trainer.calibrate(data, in_distribution=0.75)
    features = calibration.training_features
    assert features is not None and features.shape[0] == len(data.files["train"])
    validation = trainer.predict(data.files["validation"])
    accepted = np.mean([bool(one.in_distribution) for one in validation])
    assert 0.75 <= accepted <= 0.75 + 1 / len(validation) + 1e-9
    folder = trainer.save(tmp_path / "saved")
    loaded = tk.load(folder).predict(data.files["validation"])
    assert [one.in_distribution for one in loaded] == [one.in_distribution for one in validation]
    np.testing.assert_allclose([one.distance for one in loaded], [one.distance for one in validation], atol=1e-4)
    assert trainer.save(folder) == folder
    saved = folder / "training_features.npy"
    content = saved.read_bytes()
    saved.write_bytes(content[:-2] + b"ab")
    with pytest.raises(tk.ArtifactError, match="training_features.npy is not the file that was saved"):
        tk.load(folder)
    saved.unlink()
    with pytest.raises(tk.ArtifactError, match="training_features.npy is missing"):
        tk.load(folder)


def test_calibrated_recall_is_that_of_the_labels(data: Data, trainer: tk.Trainer) -> None:
    trainer.calibrate(data, recall=1.0)
    positive = data.class_names[1]
    files = [path for path in data.files["validation"] if Path(path).parent.name == positive]
    assert files and all(prediction.label == positive for prediction in trainer.predict(files))
    assert trainer.evaluate(data.validation).per_class[positive]["recall"] == 1


def test_further_training_removes_the_calibration(data: Data, trainer: tk.Trainer) -> None:
    trainer.calibrate(data)
    trainer.fit(data, epochs=1, verbose=0)
    assert trainer.predictor().calibration is None
    prediction = trainer.predict(data.files["test"][0])
    assert prediction.is_certain is None and prediction.label_set is None and "is_certain" not in prediction.to_dict()


def test_calibrate_on_training_images_raises(data: Data, trainer: tk.Trainer) -> None:
    files = data.files["train"]
    labels = [Path(path).parent.name for path in files]
    other = tk.DatasetBuilder((files[::2], labels[::2]), validation=(files[1::2], labels[1::2]), image_size=32).build()
    with pytest.raises(tk.DataError, match="must not be training images. Received: .* on which the classifier was"):
        trainer.calibrate(other)


def test_calibrate_without_validation_or_training_raises(data: Data, trainer: tk.Trainer, synthetic: Path) -> None:
    alone = tk.DatasetBuilder(synthetic / "train", image_size=32, batch_size=8).build()
    with pytest.raises(tk.DataError, match="`data` must have validation images"):
        trainer.calibrate(alone)
    with pytest.raises(tk.DataError, match="calibrate.. needs the class names"):
        tk.Trainer(small_classifier()).calibrate(data)


def test_calibrate_independent_labels() -> None:
    data = multi_label_data()
    trainer = tk.Trainer(small_classifier(num_classes=2, multi_label=True), learning_rate=1e-2)
    trainer.fit(data, epochs=3, verbose=0)
    before = trainer.evaluate(data.validation).loss
    calibration = trainer.calibrate(data, recall=0.5)
    report = trainer.evaluate(data.validation)
    assert report.loss <= before and len(calibration.thresholds or ()) == 2
    predictions = trainer.predict(data.splits["validation"].images)
    sets = [[name in (one.label_set or ()) for name in data.class_names] for one in predictions]
    np.testing.assert_array_equal(sets, report.predictions)
