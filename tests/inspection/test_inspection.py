"""tk.inspect on a small data set with known errors."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import transferkit as tk
from transferkit.errors import DataError
from transferkit.inspection.records import ImageKey, LabelIssue

NAMES = ["<b>red", "green", "blue"]


class ColorBackbone:
    """A backbone whose features are the channels above gray, and numbers that depend on each pixel."""

    def features(self, split: Any) -> np.ndarray:
        images = split.images if split.images is not None else np.stack([tk.read_image(path) for path in split.paths])
        pixels = images.reshape(len(images), -1, 3).astype(np.float32)
        means = pixels.mean(axis=1)
        directions = np.random.default_rng(0).normal(size=(pixels.shape[1] * 3, 8)) / 1000
        details = (pixels - means[:, None]).reshape(len(images), -1) @ directions
        return np.hstack([means > 110, details]).astype(np.float32)


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    """Sixty images of three colors; the labels of images 4 and 11 are wrong, image 50 is a copy of image 20."""
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    colors = 40 + 150 * np.eye(3)[labels] + generator.uniform(-20, 20, (60, 3))
    pixels = np.clip(colors[:, None, None] + generator.normal(0, 10, (60, 32, 32, 3)), 0, 255).astype(np.uint8)
    pixels[50] = pixels[20]
    # Another image for the builder, which leaves out equal ones.
    pixels[50, 0, 0] += 1
    wrong = labels.copy()
    wrong[[4, 11]] = (labels[[4, 11]] + 1) % 3
    return pixels, wrong


@pytest.fixture
def data(images) -> tk.Data:
    pixels, labels = images
    parts = (pixels[:45], labels[:45]), (pixels[45:], labels[45:])
    return tk.DatasetBuilder(parts[0], validation=parts[1], image_size=32, class_names=NAMES, progress=False).build()


@pytest.fixture
def inspection(data: tk.Data) -> tk.Inspection:
    return tk.inspect(data, ColorBackbone(), duplicate_similarity=0.9999)  # type: ignore[arg-type]


def test_inspect_finds_wrong_labels(inspection: tk.Inspection) -> None:
    found = [(one.image.index, one.label, one.suggested_label) for one in inspection.label_issues]
    assert found[:2] in ([(4, "blue", "green"), (11, "<b>red", "blue")], [(11, "<b>red", "blue"), (4, "blue", "green")])
    assert all(one.is_confident and one.score > 0.5 for one in inspection.label_issues[:2])
    scores = [one.score for one in inspection.label_issues]
    assert scores == sorted(scores, reverse=True)


def test_inspect_finds_copies_across_splits(inspection: tk.Inspection) -> None:
    first = inspection.near_duplicates[0]
    assert (first.first, first.second) == (ImageKey("train", 20, None), ImageKey("validation", 5, None))
    assert first.across_splits and first.similarity == pytest.approx(1)


def test_inspect_class_overlap_counts_pairs(inspection: tk.Inspection) -> None:
    pairs = {pair.classes: pair.images for pair in inspection.class_overlap}
    assert pairs[("green", "blue")] >= 1 and all(0 < pair.fraction <= 1 for pair in inspection.class_overlap)


def test_inspect_leaves_data_unchanged(data: tk.Data, inspection: tk.Inspection) -> None:
    before = data.splits["train"].labels.copy()
    cleaned = inspection.clean("correct")
    assert (data.splits["train"].labels == before).all()
    assert cleaned.splits["train"].labels[[4, 11]].tolist() == [1, 2]
    assert (np.delete(cleaned.splits["train"].labels, [4, 11]) == np.delete(before, [4, 11])).all()


def test_clean_drops_confident_issues(data: tk.Data, inspection: tk.Inspection) -> None:
    cleaned = inspection.clean()
    confident = sum(one.is_confident for one in inspection.label_issues)
    assert sum(map(len, cleaned.splits.values())) == 60 - confident
    kept = np.delete(data.splits["train"].images, [4, 11], axis=0)
    assert (cleaned.splits["train"].images == kept).all()
    counts = np.bincount(cleaned.splits["train"].labels).tolist()
    assert list(cleaned.report.counts["train"].items()) == list(zip(NAMES, counts))
    assert "images were dropped by an inspection" in cleaned.report.notes[-1]
    images, labels = next(iter(cleaned.validation))
    assert len(images) == len(labels) == len(cleaned.splits["validation"])


def test_clean_selected_records(data: tk.Data, inspection: tk.Inspection) -> None:
    cleaned = inspection.clean("drop", inspection.near_duplicates[:1])
    assert len(cleaned.splits["validation"]) == 14 and len(cleaned.splits["train"]) == 45
    with pytest.raises(TypeError, match="must be of the types LabelIssue to correct images. Received: NearDuplicate"):
        inspection.clean("correct", inspection.near_duplicates[:1])
    with pytest.raises(ValueError, match="`action` must be one of 'drop', 'correct'. Received: 'delete'"):
        inspection.clean("delete")
    everything = [LabelIssue(key, "green", "blue", 1.0, True) for key in inspection.images.keys if key.split == "train"]
    with pytest.raises(DataError, match="A split must keep an image. Received: all 45 images of 'train' to drop"):
        inspection.clean("drop", everything)
    reds = [key for key, label in zip(inspection.images.keys, inspection.images.labels) if label == 0]
    with pytest.raises(DataError, match="Each class must keep a training image. Received: none of '<b>red'"):
        inspection.clean("drop", [LabelIssue(key, "<b>red", "blue", 1.0, True) for key in reds if key.split == "train"])


def test_inspection_of_files_is_written_and_read(images, tmp_path: Path) -> None:
    pixels, labels = images
    files = [str(tmp_path / f"{index:02d}<i>.png") for index in range(60)]
    for path, image in zip(files, pixels):
        Image.fromarray(image).save(path)
    data = tk.DatasetBuilder((files, [NAMES[label] for label in labels]), image_size=32, progress=False).build()
    inspection = tk.inspect(data, ColorBackbone(), image_quality=False)  # type: ignore[arg-type]
    assert inspection.image_issues == []
    inspection.to_csv(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert rows[files[4]]["label"] == "green" and rows[files[4]]["given_label"] == "blue"
    assert rows[files[4]]["issues"].split(", ")[0] == "label" and float(rows[files[4]]["score"]) > 0.5
    again = tk.DatasetBuilder(tmp_path / "table.csv", image_size=32, progress=False).build()
    corrected = dict(zip(again.files["train"], again.splits["train"].labels))
    assert again.class_names[corrected[files[4]]] == "green"
    inspection.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<i>" not in page and "<b>red" not in page and "&lt;b&gt;red" in page
    assert re.findall(r"<h2[^>]*>(Label issues|Map of the images)", page) == ["Label issues", "Map of the images"]
    assert page.count("<circle") == len(inspection.images)


def test_inspection_repr_is_short(inspection: tk.Inspection) -> None:
    text = repr(inspection)
    assert text.startswith("Inspection of 60 images, 3 classes\nlabel issues: ") and "across splits" in text
    assert len(text) <= 2000


def test_inspect_invalid_data_raises(data: tk.Data, images) -> None:
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(8)
    with pytest.raises(DataError, match="must consist of files or arrays. Received: a tf.data.Dataset"):
        tk.inspect(tk.DatasetBuilder(dataset, image_size=32, class_names=NAMES).build(), ColorBackbone())  # type: ignore[arg-type]
    labels = np.eye(3)[images[1]]
    several = tk.DatasetBuilder((images[0], labels), image_size=32, class_names=NAMES, progress=False).build()
    if several.multi_label:
        with pytest.raises(DataError, match="must have one label per image. Received: independent labels"):
            tk.inspect(several, ColorBackbone())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`duplicate_similarity` must be in \[0, 1\]. Received: 1.5"):
        tk.inspect(data, ColorBackbone(), duplicate_similarity=1.5)  # type: ignore[arg-type]
