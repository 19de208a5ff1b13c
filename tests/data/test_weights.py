"""Sample weights: read from every kind of source, and always those of their images."""

from __future__ import annotations

import math
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import transferkit as tk
from tests.data.conftest import write_jpeg
from transferkit.data import write_tfrecord
from transferkit.data.assignment import oversample, partition_by_split, subsample
from transferkit.data.index import ImageIndex, concat
from transferkit.data.weights import check_positive, parse_weights
from transferkit.errors import DataError
from transferkit.images import load_image

COUNT, SIZE = 20, (8, 6)
SLICES = tf.data.Dataset.from_tensor_slices


def place(row: int) -> str:
    return f"row {row}"


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """Thirteen cats and seven dogs; the weight of the image called n.jpg is n / 4."""
    paths = [f"img/{number}.jpg" for number in range(COUNT)]
    for number, path in enumerate(paths):
        write_jpeg(tmp_path / path, 500 + number)
    labels = ["dogs" if number % 3 == 1 else "cats" for number in range(COUNT)]
    table = pd.DataFrame({"path": paths, "label": labels, "weight": np.arange(COUNT) / 4})
    return table.assign(path=[str(tmp_path / path) for path in paths]).sample(frac=1, random_state=0)


def build(source: Any, **options: Any) -> tk.Data:
    return tk.DatasetBuilder(source, **{"image_size": SIZE, "progress": False, **options}).build()


def noise(count: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def number_of(path: str) -> int:
    return int(os.path.basename(path).split(".")[0])


def assert_weights_follow_files(data: tk.Data) -> None:
    for split in data.splits.values():
        assert split.weights.dtype == np.float32
        assert split.weights.tolist() == [number_of(path) / 4 for path in split.paths]


def test_parse_weights_accepts_numbers_and_their_texts() -> None:
    values = [2, "0.5", " 1e-3 ", np.float32(0.25), Decimal("1.5"), 0, np.int64(7)]
    assert parse_weights(values, place) == (2.0, 0.5, 0.001, 0.25, 1.5, 0.0, 7.0)


@pytest.mark.parametrize(
    "value",
    [-1, -0.001, math.nan, math.inf, "", " ", None, pd.NA, "high", "1,5", True, np.True_, 1e39, 10**400, [1], 1j, b"x"],
)
def test_parse_weights_names_the_row_of_an_invalid_one(value: Any) -> None:
    with pytest.raises(DataError, match=r"^A weight must be a finite number of at least 0\. Received: .* as row 1\. "):
        parse_weights([1.0, value], place)


@given(st.one_of(st.floats(), st.text(), st.integers(), st.none(), st.booleans(), st.binary()))
def test_parse_weights_returns_valid_ones_or_raises(value: Any) -> None:
    try:
        (weight,) = parse_weights([value], place)
    except DataError:
        return
    assert weight == float(value) and weight >= 0 and np.isfinite(np.float32(weight))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "frame"])
def test_build_reads_weight_column(frame: pd.DataFrame, tmp_path: Path, name: str) -> None:
    source: Any = tmp_path / name
    frame = frame.rename(columns={"weight": "Sample Weight"})
    if name == "frame":
        source = frame
    elif name == "t.parquet":
        frame.to_parquet(source)
    else:
        frame.to_csv(source, index=False, sep="\t" if name == "t.tsv" else ",")
    data = build(source, validation=0.25, test=0.2, weight_column="sample_weight")
    assert sorted(data.splits) == ["test", "train", "validation"] and sum(map(len, data.splits.values())) == COUNT
    assert_weights_follow_files(data)
    (_, labels, weights), *_ = data.validation
    assert weights.numpy().tolist() == data.splits["validation"].weights.tolist()
    assert labels.numpy().tolist() == data.splits["validation"].labels.tolist()


def test_weights_change_no_split(frame: pd.DataFrame) -> None:
    options = {"validation": 0.25, "test": 0.2, "balance": "oversample"}
    plain = build(frame.drop(columns="weight"), **options)
    assert build(frame, weight_column="weight", **options).files == plain.files
    assert all(split.weights is None for split in plain.splits.values())
    assert len(plain.train.element_spec) == 2


def test_column_called_weight_is_used_only_when_named(frame: pd.DataFrame) -> None:
    data = build(frame)
    assert data.splits["train"].weights is None
    assert data.report.notes == [
        "the column 'weight' is not used; give weight_column='weight' if it has sample weights"
    ]


@pytest.mark.parametrize("options", [{"balance": "oversample"}, {"subset": 3}, {"subset": 0.5, "test": 0.2}])
def test_weights_follow_files_of_subset_and_oversampling(frame: pd.DataFrame, options: dict[str, Any]) -> None:
    data = build(frame, validation=0.25, weight_column="weight", **options)
    assert_weights_follow_files(data)
    seen = [
        (image.tobytes(), weight)
        for images, _, weights in data.train.unbatch().batch(4).as_numpy_iterator()
        for image, weight in zip(images, weights)
    ]
    expected = {
        load_image(path, data.image_spec).astype(np.float32).tobytes(): number_of(path) / 4
        for path in data.files["train"]
    }
    assert len(seen) == len(data.splits["train"]) and all(expected[image] == weight for image, weight in seen)


def test_weights_follow_files_of_folds_and_moved_copies(frame: pd.DataFrame, tmp_path: Path) -> None:
    for data in tk.DatasetBuilder(frame, image_size=SIZE, weight_column="weight", progress=False).folds(3):
        assert_weights_follow_files(data)
    (tmp_path / "img" / "1.jpg").write_bytes((tmp_path / "img" / "0.jpg").read_bytes())
    splits = ["test" if number_of(path) in (0, 7) else "train" for path in frame["path"]]
    data = build(frame.assign(split=splits), weight_column="weight")
    assert sorted(map(number_of, data.files["test"])) == [0, 1, 7]
    assert_weights_follow_files(data)


def test_weights_of_unreadable_files_are_left_out(frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "img" / "3.jpg").write_bytes(b"no image")
    data = build(frame, validation=0.25, weight_column="weight", batch_size=4)
    assert_weights_follow_files(data)
    os.unlink(data.files["train"][2])
    weights = [weight for _, _, batch in data.train for weight in batch.numpy()]
    kept = [number_of(path) / 4 for path in data.files["train"] if os.path.exists(path)]
    assert sorted(weights) == sorted(kept) and len(kept) == len(data.files["train"]) - 1


def test_rows_of_equal_weight_are_left_out_once(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "t.csv", index=False)
    with open(tmp_path / "t.csv", "a") as file:
        file.write(f"{tmp_path}/img/3.jpg,cats,0.750\n{tmp_path}/img/3.jpg,cats,5\n")
    data = build(tmp_path / "t.csv", weight_column="weight")
    split = data.splits["train"]
    assert [weight for path, weight in zip(split.paths, split.weights) if number_of(path) == 3] == [0.75, 5.0]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("weights", r"must have the column of `weight_column`, 'weights'\. Received: .* Did you mean 'weight'\?"),
        ("importance", r"'importance'\. Received: `source` with the columns \['path', 'label', 'weight'\]\. Name one"),
        ("label", r"`weight_column` must be a column of numbers\. Received: 'label', which `source` has for another"),
    ],
)
def test_weight_column_that_is_missing_raises(frame: pd.DataFrame, column: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(frame, weight_column=column)


@pytest.mark.parametrize("value", [3, "", " ", ["weight"], True])
def test_weight_column_that_is_no_name_raises(value: Any) -> None:
    with pytest.raises(ValueError, match="`weight_column` must be the name of a column, or None. Received: "):
        tk.DatasetBuilder("images", weight_column=value)


@pytest.mark.parametrize("cell", ["", "-1", "nan", "inf", "high", "1e99"])
def test_invalid_weight_names_row_and_column(frame: pd.DataFrame, tmp_path: Path, cell: str) -> None:
    cells = [cell if row == 4 else "1" for row in range(COUNT)]
    frame.rename(columns={"weight": "w"}).assign(w=cells).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=rf"Received: '{cell}' as the column 'w' in row 6 of 't\.csv'"):
        build(tmp_path / "t.csv", weight_column="w")


def test_two_weight_columns_raise(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="must have one column 'w'"):
        build(frame.rename(columns={"weight": "w"}).assign(W=1), weight_column="w")


def test_weights_that_all_are_zero_raise(frame: pd.DataFrame) -> None:
    message = r"must have an image with a weight above 0\. Received: 0 for all 20 images of 'train'"
    with pytest.raises(DataError, match=message):
        build(frame.assign(weight=0), weight_column="weight")
    with pytest.raises(DataError, match="for all 12 images of 'train'"):
        build((noise(), np.arange(12) % 3, np.zeros(12)))
    check_positive({"train": np.float32([0, 1]), "validation": None})


def test_weight_column_requires_table(folder: Path) -> None:
    with pytest.raises(DataError, match=r"`weight_column` is supported for tables only\. Received: 'w' for `source`"):
        build(folder, weight_column="w")
    with pytest.raises(ValueError, match="`weight_column` is not supported for arrays"):
        build((noise(), np.arange(12) % 3), weight_column="w")


def test_separate_images_without_weights_have_weight_one(frame: pd.DataFrame, folder: Path) -> None:
    labels = {"cats": frame["path"].iloc[:3], "dogs": frame["path"].iloc[3:5]}
    test = pd.DataFrame([(path, label) for label, paths in labels.items() for path in paths], columns=["path", "label"])
    data = build(frame.iloc[5:], validation=folder, test=test, weight_column="weight")
    assert data.splits["validation"].weights.tolist() == [1.0] * len(data.splits["validation"])
    assert data.splits["test"].weights.tolist() == [1.0] * 5
    assert "`test` has no column 'weight', so its images have the weight 1" in data.report.notes


def test_build_of_lists_with_weights(frame: pd.DataFrame) -> None:
    lists = tuple(frame[column].tolist() for column in frame)
    assert_weights_follow_files(build(lists, validation=0.25))
    with pytest.raises(DataError, match="as many labels and weights as paths, and at least one. Received: 20 paths"):
        build((*lists[:2], lists[2][:-1]))
    with pytest.raises(DataError, match="-2 as the column 'weight' in row 3 of the lists of `source`"):
        build((*lists[:2], [1, 1, -2, *lists[2][3:]]))


@pytest.mark.parametrize("form", [list, np.array, pd.Series, np.float32, lambda values: np.array(values, object)])
def test_build_of_arrays_with_weights(form: Any) -> None:
    images, weights = noise(), [number / 8 for number in range(12)]
    data = build((images, np.arange(12) % 3, form(weights)), validation=0.25, balance="oversample")
    rows = {image.tobytes(): weight for image, weight in zip(images, weights)}
    for split in data.splits.values():
        assert split.weights.dtype == np.float32
        assert split.weights.tolist() == [rows[image.tobytes()] for image in split.images]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(11), r"one weight for each of 12 images\. Received: the shape \(11,\)"),
        (np.ones((12, 1)), r"Received: the shape \(12, 1\)"),
        (1.0, r"Received: the shape \(\)"),
        ([[1], [1, 2]] * 6, "rows of different lengths"),
        ([1] * 7 + [np.nan] + [1] * 4, "Received: nan as the weight at position 7 of `source`"),
        ([1] * 7 + [None] + [1] * 4, "Received: None as the weight at position 7"),
        (np.ones(12, bool), "Received: True as the weight at position 0"),
    ],
)
def test_build_of_arrays_refuses_weights(weights: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build((noise(), np.arange(12) % 3, weights))


def test_weights_of_training_arrays_of_another_split_are_left_out() -> None:
    images = noise(24)
    data = build((images, np.arange(24) % 3, np.arange(24)), test=(images[:6], np.arange(6) % 3))
    assert data.splits["train"].weights.tolist() == list(range(6, 24)) and data.splits["test"].weights is None
    assert len(data.test.element_spec) == 2


def test_class_weight_counts_images_by_their_weights() -> None:
    data = build((noise(4), [0, 0, 0, 1], [1, 2, 3, 4]))
    # 10 in total, 6 of class 0 and 4 of class 1.
    assert data.class_weight == {0: 10 / 12, 1: 10 / 8}
    several = build((noise(4), [[1, 0], [1, 1], [0, 0], [1, 0]], [1, 2, 3, 2]))
    assert several.class_weight == pytest.approx({0: 7 / 10, 1: 7 / 4})


def test_tfrecord_keeps_weights(frame: pd.DataFrame, tmp_path: Path) -> None:
    data = build(frame.assign(weight=frame["weight"] / 3), validation=0.25, weight_column="weight")
    write_tfrecord(data, tmp_path / "all.tfrecord")
    again = build(tmp_path / "all.tfrecord")
    for name, split in data.splits.items():
        of_file = dict(zip(split.content_hashes(), split.weights))
        other = again.splits[name]
        assert dict(zip(other.content_hashes(), other.weights)) == of_file and len(of_file) == len(split)


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("size", [SIZE, (16, 12)])
def test_build_of_dataset_with_weights(batch_size: int | None, size: tuple[int, int]) -> None:
    dataset = SLICES((noise(), np.eye(3)[np.arange(12) % 3], np.arange(12) / 4))
    dataset = dataset.batch(batch_size) if batch_size else dataset
    data = build(dataset, image_size=size, class_names=["a", "b", "c"])
    images, labels, weights = map(np.concatenate, zip(*data.train.as_numpy_iterator()))
    assert images.shape == (12, *size, 3) and labels.tolist() == (np.arange(12) % 3).tolist()
    assert weights.dtype == np.float32 and weights.tolist() == (np.arange(12) / 4).tolist()
    assert data.show(count=2) is not None


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.full(12, -1.0), r"weights of `source` must be finite numbers of at least 0\. Received: \[-1"),
        (np.full(12, np.nan), "finite numbers of at least 0"),
        (np.full(12, -1.0, np.float16), "finite numbers of at least 0"),
        (np.full(12, 1e39), "finite numbers of at least 0"),
        (np.ones(12, bool), "finite numbers of at least 0"),
        (np.full(12, "high"), "finite numbers of at least 0"),
        (np.ones((12, 1)), r"one number per image, of the shape \(4,\)"),
    ],
)
def test_build_of_dataset_refuses_weights(weights: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(SLICES((noise(), np.arange(12) % 3, weights)).batch(4), class_names=["a", "b", "c"])


def test_later_weights_of_dataset_are_checked_when_read() -> None:
    weights = np.where(np.arange(12) == 9, np.inf, 1)
    data = build(SLICES((noise(), np.arange(12) % 3, weights)).batch(4), class_names=["a", "b", "c"])
    with pytest.raises(tf.errors.OpError, match="weights of `source` must be finite numbers"):
        list(data.train)


def test_keras_fit_uses_weights_of_a_table(frame: pd.DataFrame) -> None:
    model = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.Rescaling(0.0), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2, "softmax"))
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    data = build(frame, weight_column="weight", batch_size=COUNT)
    model.fit(data.train, verbose=0)
    # Sum of weight * (probability - label) over the images: the dogs 1, 4, ..., 19 have 70 of 190 quarters.
    assert model.layers[-1].bias.numpy() == pytest.approx(np.array([25, -25]) / 4 / COUNT, rel=1e-4)


@st.composite
def indexes(draw: st.DrawFn) -> ImageIndex:
    """An index in which path, sample id, label and weight of an example all follow from its number."""
    numbers = draw(st.lists(st.integers(0, 99), min_size=1, max_size=30, unique=True))
    splits = draw(st.lists(st.sampled_from(["train", "test"]), min_size=len(numbers), max_size=len(numbers)))
    paths = tuple(f"/img/{number}.jpg" for number in numbers)
    labels = tuple(str(number % 3) for number in numbers)
    return ImageIndex(paths, paths, labels, tuple(splits), weights=tuple(number / 4 for number in numbers))


@given(indexes(), st.integers(1, 9), st.integers(0, 3))
def test_weights_follow_examples_of_an_index(index: ImageIndex, size: int, seed: int) -> None:
    parts = partition_by_split(index)
    derived = [
        *parts.values(),
        concat(list(parts.values())),
        index.sorted(),
        subsample(index, size, seed),
        oversample(index, seed),
    ]
    for part in derived:
        assert part.weights == tuple(number_of(path) / 4 for path in part.paths)


def test_concat_gives_images_without_weights_the_weight_one() -> None:
    weighted, plain = ImageIndex(("a",), ("a",), ("x",), weights=(3.0,)), ImageIndex(("b", "c"), ("b", "c"), ("x", "y"))
    assert concat([weighted, plain]).weights == (3.0, 1.0, 1.0)
    assert concat([plain, weighted]).weights == (1.0, 1.0, 3.0)
    assert concat([plain, plain]).weights is None
