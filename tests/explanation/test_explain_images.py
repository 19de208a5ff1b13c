"""The public function: accepted images and classifiers, options, errors."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.explanation.conftest import make_model, make_predictor


@pytest.fixture(scope="module")
def trained(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[tk.Data, tk.Trainer]:
    """A trainer of the tiny model, and its data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_HOME", str(tmp_path_factory.mktemp("home")))
        data = tk.DatasetBuilder(synthetic, image_size=4, batch_size=8).build()
        trainer = tk.Trainer(make_model(2))
        trainer.fit(data, epochs=1)
    return data, trainer


def test_every_form_of_images_gives_equal_heat_maps(predictor: Any, image: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path)
    expected = tk.explain(predictor, image)
    forms = [str(path), path, path.read_bytes(), Image.fromarray(image)]
    for form in forms:
        np.testing.assert_array_equal(tk.explain(predictor, form).heatmap, expected.heatmap)
    several = [forms, tmp_path, str(tmp_path / "*.png"), image[None], iter(forms)]
    for form in several:
        explained = tk.explain(predictor, form, batch_size=3)
        assert isinstance(explained, tk.explanation.Explanations)
        np.testing.assert_array_equal(explained[-1].heatmap, expected.heatmap)
    assert tk.explain(predictor, path).path == str(path) and expected.path is None


def test_unreadable_file_gives_error_in_its_place(predictor: Any, image: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    Image.fromarray(image).save(tmp_path / "b.png")
    bad, good = tk.explain(predictor, [tmp_path / "a.png", tmp_path / "b.png"])
    assert bad.error and bad.heatmap is None and bad.path.endswith("a.png")
    assert good.error is None and good.class_name == "ant"
    assert tk.explain(predictor, tmp_path / "a.png").error == bad.error


def test_explanation_has_class_and_probability_of_prediction(predictor: Any, image: np.ndarray) -> None:
    images = np.stack([image, image[::-1], np.minimum(image, 3)])
    for one, prediction in zip(tk.explain(predictor, images), predictor.predict(images)):
        assert one.class_name == prediction.label
        assert one.probability == pytest.approx(prediction.probability, abs=1e-5)


def test_trainer_and_saved_classifier_give_equal_maps(trained: tuple[tk.Data, tk.Trainer], tmp_path: Path) -> None:
    data, trainer = trained
    paths = data.files["validation"][:3]
    trainer.save(tmp_path / "saved")
    loaded = tk.load(tmp_path / "saved")
    for one, other in zip(tk.explain(trainer, paths), tk.explain(loaded, paths)):
        np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-5)
        assert (one.class_name, one.path) == (other.class_name, other.path)


def test_neighbors_are_training_images_from_cached_features(trained: tuple[tk.Data, tk.Trainer]) -> None:
    data, trainer = trained
    explained = tk.explain(trainer, data.files["validation"][:2], data=data, neighbors=3)
    for one in explained:
        assert len(one.neighbors) == 3
        assert all(neighbor.path in data.files["train"] for neighbor in one.neighbors)
        assert all(neighbor.label == Path(neighbor.path).parent.name for neighbor in one.neighbors)
        similarities = [neighbor.similarity for neighbor in one.neighbors]
        assert similarities == sorted(similarities, reverse=True) and similarities[0] > 0.5


def test_untrained_trainer_or_data_without_training_raises(predictor: Any, image: np.ndarray) -> None:
    with pytest.raises(tk.DataError, match=r"Call fit\(data\) first"):
        tk.explain(tk.Trainer(make_model(2)), image)
    with pytest.raises(TypeError, match="`data` must be Data of a DatasetBuilder. Received: list"):
        tk.explain(predictor, image, data=[])
    other = SimpleNamespace(splits={"train": SimpleNamespace(image_spec=tk.ImageSpec((8, 8)))})
    with pytest.raises(tk.DataError, match=r"of the classifier's size, \(4, 4\)\. Received: \(8, 8\)"):
        tk.explain(predictor, image, data=other)


def test_bad_argument_raises(predictor: Any, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="`method` must be one of .* Did you mean 'grad_cam"):
        tk.explain(predictor, image, "gradcam")
    with pytest.raises(ValueError, match="`neighbors` must be an integer of at least 1"):
        tk.explain(predictor, image, neighbors=0)
    with pytest.raises(TypeError, match="`classname` must be an argument .*Did you mean 'class_name'"):
        tk.explain(predictor, image, classname="ant")
    with pytest.raises(tk.ImageError, match="there is no such file"):
        tk.explain(make_predictor(make_model()), "/no/such/image.jpg")
