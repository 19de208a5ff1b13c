"""Data sets of other libraries: Hugging Face, torchvision, TFDS and Grain, whose items are found by number."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data.records import is_random_access
from transferkit.images import load_image

COLORS = np.random.default_rng(0).integers(0, 256, (12, 3))


class Items:
    """A data set with `__len__` and `__getitem__`, as those of PyTorch and Grain are."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def image(number: int, size: int = 40) -> np.ndarray:
    pixels = np.full((size, size, 3), COLORS[number % len(COLORS)], np.uint8)
    pixels[number % size] = 255
    return pixels


def encoded(number: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image(number)).save(file, kind)
    return file.getvalue()


def pairs(count: int = 12) -> list[tuple[Any, int]]:
    return [(Image.fromarray(image(number)), number % 2) for number in range(count)]


def build(source: Any, **options: Any) -> Any:
    options = {"validation": 4, "image_size": 40, "batch_size": 4, **options}
    return tk.DatasetBuilder(source, **options).build()


def sizes(data: Any) -> tuple[int, ...]:
    return tuple(map(len, data.splits.values()))


def images_of(data: Any) -> list[bytes]:
    paths = [path for split in data.splits.values() for path in split.paths]
    return sorted(load_image(path, data.image_spec).tobytes() for path in paths)


def test_tuples_of_images_and_indices_are_read() -> None:
    data = build(Items(pairs()))
    assert data.class_names == ("0", "1")
    assert sizes(data) == (8, 4)
    assert images_of(data) == sorted(image(number).tobytes() for number in range(12))


@pytest.mark.parametrize("form", [np.asarray, lambda pixels: pixels[..., :1], lambda pixels: pixels[..., 0]])
def test_arrays_are_read(form: Any) -> None:
    data = build(Items([{"image": form(image(number)), "label": number % 2} for number in range(12)]))
    expected = [np.broadcast_to(form(image(n)).reshape(40, 40, -1), (40, 40, 3)) for n in range(12)]
    assert images_of(data) == sorted(array.tobytes() for array in expected)


@pytest.mark.parametrize("form", ["bytes", "path", "dictionary of bytes", "dictionary of a path"])
def test_files_are_copied_without_loss(form: str, tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(encoded(number, "JPEG"))
        forms = {
            "bytes": path.read_bytes(),
            "path": str(path),
            "dictionary of bytes": {"bytes": path.read_bytes(), "path": path.name},
            "dictionary of a path": {"bytes": None, "path": str(path)},
        }
        rows.append({"img": forms[form], "label": "ab"[number % 2], "id": number})
    data = build(Items(rows))
    assert data.class_names == ("a", "b")
    expected = [load_image(tmp_path / f"{number}.jpg", data.image_spec).tobytes() for number in range(12)]
    assert images_of(data) == sorted(expected)


def test_unreadable_images_are_skipped(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"image": encoded(number), "label": number % 2} for number in range(12)]
    rows += [{"image": b"no image", "label": 0}, {"image": "missing.jpg", "label": 0}]
    with caplog.at_level(logging.WARNING, logger="transferkit"):
        data = build(Items(rows))
    assert len(data.report.skipped) == 2
    assert sum(sizes(data)) == 12


@pytest.mark.parametrize(
    "source",
    [
        Items(pairs(), classes=["cats", "dogs"]),
        Items(pairs(), dataset=Items([], classes=["cats", "dogs"])),
    ],
)
def test_class_names_of_torch_are_used(source: Any) -> None:
    assert build(source).class_names == ("cats", "dogs")


def test_given_class_names_are_used_in_their_order() -> None:
    data = build(Items(pairs()), class_names=["zebra", "ant"])
    assert data.class_names == ("zebra", "ant")
    again = build(Items(pairs(), classes=["a", "b"]), class_names=["b", "a"])
    assert again.class_names == ("b", "a")
    rows = {path: label for split in data.splits.values() for path, label in zip(split.paths, split.labels)}
    label_of_image = {load_image(path, data.image_spec).tobytes(): label for path, label in rows.items()}
    assert all(label_of_image[image(n).tobytes()] == n % 2 for n in range(12))


def test_indices_without_names_are_ordered_as_numbers() -> None:
    rows = [(Image.fromarray(image(number)), number) for number in range(12)] * 2
    data = build(Items(rows), validation=None)
    assert data.class_names == tuple(map(str, range(12)))


def test_several_labels_per_image() -> None:
    rows = [{"image": encoded(n), "labels": [[0], [0, 1], [1, 2]][n % 3]} for n in range(12)]
    data = build(Items(rows), class_names=["sun", "sea", "sand"])
    assert data.multi_label
    assert np.array_equal(np.unique(data.splits["train"].labels, axis=0), [[0, 1, 1], [1, 0, 0], [1, 1, 0]])


def test_files_of_an_image_folder_stay_where_they_are(synthetic: Path) -> None:
    classes = ["cats", "dogs"]
    samples = [
        (str(p), row) for row, name in enumerate(classes) for p in sorted((synthetic / "train" / name).iterdir())
    ]
    data = build(Items(samples, samples=samples, classes=classes))
    assert all(path.startswith(str(synthetic)) for path in data.splits["train"].paths)
    assert data.class_names == ("cats", "dogs")


def test_dictionary_of_splits() -> None:
    splits = {"train": Items(pairs(8)), "valid": Items(pairs(12)[8:]), "unsupervised": Items(pairs(2))}
    data = build(splits, validation=None)
    assert sizes(data) == (8, 4)
    assert "left out the data set 'unsupervised', which is no split" in data.report.notes
    with pytest.raises(tk.DataError, match=r"must have one data set for each of the splits.*\['val', 'dev'\]"):
        build({"val": Items(pairs()), "dev": Items(pairs())}, validation=None)


def test_same_items_are_written_once_and_give_the_same_splits(own_home: Path) -> None:
    first = build(Items(pairs()))
    written = next(own_home.glob("unpacked/*/records.tfrecord"))
    before = written.stat().st_mtime_ns
    second = build(Items(pairs()))
    assert first.files["train"] == second.files["train"]
    assert written.stat().st_mtime_ns == before
    written.write_bytes(written.read_bytes()[:-20])
    assert build(Items(pairs())).files["train"] == first.files["train"]


def test_each_item_is_read_once() -> None:
    class Counting(Items):
        reads: ClassVar[list[int]] = []

        def __getitem__(self, index: int) -> Any:
            self.reads.append(index)
            return super().__getitem__(index)

    build(Counting(pairs()))
    # The first one shows what the items have.
    assert sorted(set(Counting.reads)) == list(range(12)) and Counting.reads.count(5) == 1


def test_item_that_cannot_be_read(own_home: Path) -> None:
    class Broken(Items):
        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise FileNotFoundError("3.jpg")
            return super().__getitem__(index)

    message = r"Every item of `source` must be readable. Received: FileNotFoundError for item 3 \(3.jpg\)"
    with pytest.raises(tk.DataError, match=message):
        build(Broken(pairs()))
    assert not list(own_home.glob("unpacked/*")) and not list(own_home.glob("unpacked/.*"))


def test_train_from_records(own_home: Path) -> None:
    data = build(Items(pairs(), classes=["even", "odd"]), image_size=32)
    trainer = tk.Trainer(small_classifier())
    trainer.fit(data, epochs=1)
    assert {row.label for row in trainer.predict(data.validation)} <= {"even", "odd"}


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], "`source` must have at least one item and an end. Received: 0 items"),
        ([1, 2], "The items of `source` must be dictionaries with an image and a label.*Received: int"),
        ([{"image": b"", "fine": 1, "coarse": 2}], r"must have one column 'label'. Received: the columns \['image',"),
        ([{"imge": b"", "label": 1}], "must have one column 'image'.*Did you mean 'imge'"),
        ([(Image.fromarray(image(0)), -1)], "Every item of `source` must have a label. Received: -1 for item 0"),
        ([(Image.fromarray(image(0)), None)], "Every item of `source` must have a label. Received: None for item 0"),
        ([(np.zeros((3, 4, 4), np.float32), 0)], "uint8 arrays.*item 0, an array of the type float32. Remove trans"),
        ([(object(), 0)], "for item 0, it is of the type object"),
    ],
)
def test_errors_say_what_is_wrong(items: list[Any], text: str) -> None:
    with pytest.raises(tk.DataError, match=f"(?s){text}"):
        build(Items(items))


def test_label_beyond_the_class_names() -> None:
    with pytest.raises(tk.DataError, match="must be class indices below 2, the number of class names. Received: 2"):
        build(Items([(Image.fromarray(image(n)), n % 3) for n in range(6)]), class_names=["a", "b"])


def test_data_set_without_end_is_refused() -> None:
    class Endless(Items):
        def __len__(self) -> int:
            return 2**62

    with pytest.raises(tk.DataError, match=r"must have at least one item and an end.*Remove repeat\(\)"):
        build(Endless(pairs()))


def test_table_options_are_refused() -> None:
    with pytest.raises(tk.DataError, match="`label_separator` is supported for tables only"):
        build(Items(pairs()), label_separator="|")


@pytest.mark.parametrize("source", ["folder", b"bytes", [1], (1, 2), {"a": 1}, np.zeros(3), Path("folder")])
def test_other_sources_are_not_taken_for_records(source: Any) -> None:
    assert not is_random_access(source)


def test_tf_dataset_of_dictionaries() -> None:
    images = np.stack([image(number) for number in range(12)])
    rows = {"image": images, "label": np.arange(12) % 2, "id": np.arange(12)}
    data = build(tf.data.Dataset.from_tensor_slices(rows), validation=None, class_names=["a", "b"])
    batch, labels = next(iter(data.train))
    assert np.array_equal(batch, images[:4]) and np.array_equal(labels, [0, 1, 0, 1])


def test_hugging_face_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cats", "dogs"])})
    rows = {"image": [encoded(n, "JPEG") for n in range(12)], "label": [n % 2 for n in range(12)]}
    source = datasets.Dataset.from_dict(
        {**rows, "image": [{"bytes": b, "path": None} for b in rows["image"]]}, features
    )
    data = build(source)
    assert data.class_names == ("cats", "dogs")
    assert images_of(data) == sorted(load_image(b, data.image_spec).tobytes() for b in rows["image"])
    splits = build(datasets.DatasetDict(train=source, test=source.select([0])), validation=None)
    # The copy of the test image is moved to it.
    assert sizes(splits) == (11, 2)


def test_torchvision_data_set(synthetic: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    data = build(torchvision.datasets.ImageFolder(str(synthetic / "train")))
    assert data.class_names == ("cats", "dogs")
    assert all(path.startswith(str(synthetic)) for path in data.splits["train"].paths)
    fake = build(torchvision.datasets.FakeData(12, (3, 40, 40), num_classes=2))
    assert sum(sizes(fake)) == 12


def test_grain_data_set() -> None:
    grain = pytest.importorskip("grain")
    rows = grain.MapDataset.source(pairs()).map(lambda pair: {"image": np.asarray(pair[0]), "label": pair[1]})
    assert sizes(build(rows)) == (8, 4)
    with pytest.raises(tk.DataError, match="Remove repeat"):
        build(rows.repeat())
