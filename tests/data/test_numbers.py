"""Numbers as labels: read from tables, lists and arrays, stratified splits, errors with the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import transferkit as tk
from tests.data.conftest import write_jpeg
from transferkit.data.numbers import number_strata
from transferkit.errors import DataError

COUNT, SIZE = 20, (8, 6)


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """The label of the image called n.jpg is n / 4."""
    paths = [tmp_path / f"{number}.jpg" for number in range(COUNT)]
    for number, path in enumerate(paths):
        write_jpeg(path, 700 + number)
    return pd.DataFrame({"path": list(map(str, paths)), "target": np.arange(COUNT) / 4})


def build(source: Any, **options: Any) -> tk.Data:
    return tk.DatasetBuilder(source, **{"image_size": SIZE, "progress": False, "target": "number", **options}).build()


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def assert_labels_follow_files(data: tk.Data) -> None:
    for split in data.splits.values():
        assert split.labels.dtype == np.float32
        assert split.labels.tolist() == [int(Path(path).stem) / 4 for path in split.paths or ()]


def test_tables_and_lists_have_numbers(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "labels.csv", index=False)
    for source in (frame, tmp_path / "labels.csv", (frame["path"].tolist(), frame["target"].tolist())):
        data = build(source, validation=0.2)
        assert data.target == "number" and data.class_names == () and not data.multi_label
        assert {name: len(split) for name, split in data.splits.items()} == {"train": 16, "validation": 4}
        assert_labels_follow_files(data)
        assert next(iter(data.validation))[1].dtype == "float32"
        assert "numbers from" in repr(data) and data.report.counts["train"] == {"numbers": 16}


def test_splits_are_stratified_by_intervals() -> None:
    # By chance, 40 of 200 images have all of ten intervals equally often with a probability of 1e-6.
    data = build((noise(200), np.random.default_rng(1).normal(size=200)), validation=0.2)
    labels = np.concatenate([data.splits["train"].labels, data.splits["validation"].labels])
    strata = number_strata(labels.astype(str).tolist())
    assert [strata[160:].count(str(interval)) for interval in range(10)] == [4] * 10


def test_equal_numbers_share_an_interval() -> None:
    assert len(set(number_strata(["0"] * 90 + ["1"] * 10))) == 2


def test_folds_have_each_image_once(frame: pd.DataFrame) -> None:
    builder = tk.DatasetBuilder(frame, target="number", image_size=SIZE, progress=False)
    validation = [data.splits["validation"] for data in builder.folds(4)]
    assert sorted(label for split in validation for label in split.labels) == sorted(frame["target"])


def test_subset_is_one_of_all_images(frame: pd.DataFrame) -> None:
    assert len(build(frame, subset=5).splits["train"]) == 5


def test_arrays_and_weights(frame: pd.DataFrame) -> None:
    numbers = np.linspace(-1, 1, 12)
    data = build((noise(12), numbers[:, None], np.ones(12)), validation=2)
    found = np.concatenate([split.labels for split in data.splits.values()])
    np.testing.assert_array_equal(np.sort(found), numbers.astype(np.float32))
    assert data.splits["train"].has_weights


@pytest.mark.parametrize("value", ["old", "inf", float("inf"), 1e39, True, [1, 2]])
def test_invalid_number_names_its_row(value: Any, frame: pd.DataFrame) -> None:
    frame["target"] = frame["target"].astype(object)
    frame.at[2, "target"] = value
    with pytest.raises(DataError, match=r"must be a finite number.*'label' in row 3 of `source`"):
        build(frame)


def test_missing_number_names_its_row(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[2, "target"] = np.nan
    frame.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(DataError, match="'label' in row 4 of 'labels.csv'"):
        build(tmp_path / "labels.csv")
    with pytest.raises(DataError, match="the label at position 1 of `source`"):
        build((noise(3), [1.0, np.nan, 2.0]))


def test_sources_and_options_of_classes_are_refused(frame: pd.DataFrame, synthetic: Path) -> None:
    with pytest.raises(DataError, match="must be a table, lists .* for target='number'. Received: PosixPath"):
        build(synthetic)
    with pytest.raises(ValueError, match="`balance` requires class labels. Received: balance='oversample'"):
        build(frame, balance="oversample")
    with pytest.raises(DataError, match="must differ. Received: 1 for all 20 images"):
        build(frame.assign(target=1))
    with pytest.raises(DataError, match="`class_weight` requires class labels. Received: numbers as labels"):
        assert build(frame).class_weight
