"""Every kind of source, and the data set built from it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.data.conftest import write_jpeg
from tests.images.image_corpus import encode, sample_image
from transferkit.data import DatasetBuilder, write_tfrecord
from transferkit.data.pipeline import split_of
from transferkit.errors import DataError, ImageError
from transferkit.images import ImageSpec, load_image

SIZE = (24, 32)


def build(source, **options):
    return DatasetBuilder(source, **{"image_size": SIZE, "progress": False, **options}).build()


def names_in(data):
    return {split: sorted(os.path.basename(path) for path in files) for split, files in data.files.items()}


def test_build_of_folder_is_stratified(folder):
    data = build(folder, validation=0.25, batch_size=4)
    assert data.class_names == ("cats", "dogs") and data.num_classes == 2 and data.image_size == SIZE
    assert data.report.counts == {"train": {"cats": 9, "dogs": 6}, "validation": {"cats": 3, "dogs": 2}}
    assert data.test is None and len(data.train) == 4
    batches = list(data.train)
    assert [len(labels) for _, labels in batches] == [4, 4, 4, 3]
    assert batches[0][0].dtype == tf.float32 and batches[0][0].shape == (4, *SIZE, 3)
    whole = np.concatenate([images for images, _ in batches])
    assert whole.min() >= 0 and whole.max() <= 255 and (whole % 1 == 0).all()


def test_validation_is_in_file_order_with_equal_pixels(folder):
    data = build(folder, validation=0.25, batch_size=2)
    images = np.concatenate([images for images, _ in data.validation])
    labels = np.concatenate([labels for _, labels in data.validation])
    for path, image, label in zip(data.files["validation"], images, labels):
        assert np.array_equal(image, load_image(path, data.image_spec))
        assert data.class_names[label] == os.path.basename(os.path.dirname(path))


def test_build_finds_split_folders(folder, tmp_path):
    for split in ("train", "Val"):
        shutil.copytree(folder, tmp_path / "all" / split)
    for path in (tmp_path / "all" / "Val").rglob("*.jpg"):
        write_jpeg(path, hash_of(path.name))
    data = build(tmp_path / "all", test=0.25)
    assert data.report.counts["test"] == {"cats": 3, "dogs": 2} and data.report.counts["train"]["cats"] == 12
    assert "Val/ as validation" in str(data.report)
    assert all("/Val/" in path for path in data.files["test"] + data.files["validation"])
    apart = build(tmp_path / "all" / "train", validation=tmp_path / "all" / "Val", test=0.25)
    assert apart.files == data.files


def hash_of(name: str) -> int:
    return 1000 + sum(map(ord, name)) * 7 + len(name)


def test_build_class_may_be_called_test(tmp_path):
    for number in range(4):
        write_jpeg(tmp_path / "test" / f"{number}.jpg", number)
        write_jpeg(tmp_path / "car" / f"{number}.jpg", 50 + number)
    assert build(tmp_path).class_names == ("car", "test")


def test_build_of_tables_lists_and_folders_is_equal(folder, tmp_path):
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    labels = [os.path.basename(os.path.dirname(path)) for path in paths]
    expected = names_in(build(folder, validation=np.float32(0.25), test=np.int64(3)))
    frame = pd.DataFrame({"path": paths, "label": labels})
    relative = frame.assign(path=[os.path.relpath(path, tmp_path) for path in paths]).sample(frac=1, random_state=0)
    relative.to_csv(tmp_path / "list.csv", index=False)
    sources = [frame, tmp_path / "list.csv", (paths[::-1], labels[::-1])]
    for source in sources:
        assert names_in(build(source, validation=0.25, test=3)) == expected


def test_build_of_table_uses_splits_and_groups(folder):
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    labels = [os.path.basename(os.path.dirname(path)) for path in paths]
    given = pd.DataFrame({"file": paths, "class": labels, "split": ["train", "train", "val", "test"] * 5})
    data = build(given)
    assert {split: len(files) for split, files in data.files.items()} == {"train": 10, "validation": 5, "test": 5}
    bursts = [index // 2 for index in range(len(paths))]
    grouped = build(pd.DataFrame({"path": paths, "label": labels, "group": bursts}), validation=0.25)
    sides = [paths[index] in grouped.files["train"] for index in range(len(paths))]
    assert all(sides[index] == sides[index + 1] for index in range(0, len(paths), 2))


def test_build_moves_group_members_to_test(folder):
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    labels = [os.path.basename(os.path.dirname(path)) for path in paths]
    splits = ["train"] * 18 + ["test"] * 2
    groups = ["p0", *[f"p{index}" for index in range(1, 19)], "p0"]
    data = build(pd.DataFrame({"path": paths, "label": labels, "split": splits, "group": groups}))
    assert paths[0] in data.files["test"] and [row[0] for row in data.report.reassigned] == [paths[0]]


def test_build_with_several_labels_per_image(folder):
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    labels = [["indoor", "cat"] if "cat." in path else ["dog"] for path in paths]
    data = build((paths, labels), validation=0.25)
    assert data.multi_label and data.class_names == ("cat", "dog", "indoor")
    _, batch = next(iter(data.train))
    assert batch.dtype == tf.float32 and {tuple(row) for row in batch.numpy()} == {(1, 0, 1), (0, 1, 0)}
    frame = pd.DataFrame({"path": paths, "label": ["|".join(label) for label in labels]})
    again = build(frame, validation=0.25, label_separator="|")
    assert np.array_equal(again.splits["train"].labels, data.splits["train"].labels)


def test_build_of_arrays_keeps_duplicates_together():
    images = np.random.default_rng(0).integers(0, 256, (20, *SIZE, 3), dtype=np.uint8)
    images[10:] = images[:10]
    data = build((images, np.arange(20) % 2), validation=0.3)
    trained = {image.tobytes() for image in data.splits["train"].images}
    assert not trained & {image.tobytes() for image in data.splits["validation"].images}
    assert data.class_names == ("0", "1") and len(data.splits["train"]) + len(data.splits["validation"]) == 20
    assert sum(len(labels) for _, labels in data.train) == len(data.splits["train"])


def test_build_of_dataset_batches_and_resizes():
    images = np.full((6, 10, 12, 3), 200, np.uint8)
    own = tf.data.Dataset.from_tensor_slices((images, [0, 1] * 3))
    data = build(own, class_names=["a", "b"], batch_size=4)
    batch, labels = next(iter(data.train))
    assert batch.shape == (4, *SIZE, 3) and batch.dtype == tf.float32 and labels.shape == (4,)
    assert split_of(data.train) is data.splits["train"]


def test_build_of_tfrecord_is_equal(folder, tmp_path):
    data = build(folder, validation=0.25)
    write_tfrecord(data, tmp_path / "photos.tfrecord")
    again = build(tmp_path / "photos.tfrecord")
    assert again.report.counts == data.report.counts
    for one, other in zip(data.validation, again.validation):
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
    assert again.splits["train"].content_hashes() == data.splits["train"].content_hashes()
    (tmp_path / "cut.tfrecord").write_bytes((tmp_path / "photos.tfrecord").read_bytes()[:-9])
    with pytest.raises(DataError, match="truncated"):
        build(tmp_path / "cut.tfrecord")


def test_build_of_archive_unpacks_once(folder, tmp_path):
    pytest.importorskip("transferkit.datasets.archive")
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", folder.parent, "photos")
    data = build(archive, validation=0.25)
    assert names_in(data) == names_in(build(folder, validation=0.25))
    assert build(archive).files["train"][0].split("/unpacked/")[0] == data.files["train"][0].split("/unpacked/")[0]


def test_build_moves_duplicates_out_of_training(folder, tmp_path):
    held_out = tmp_path / "held_out"
    for number in range(3):
        write_jpeg(held_out / "cats" / f"{number}.jpg", 500 + number)
        write_jpeg(held_out / "dogs" / f"{number}.jpg", 600 + number)
    shutil.copy(held_out / "cats" / "0.jpg", folder / "cats" / "leak.jpg")
    data = build(folder, validation=held_out)
    assert [os.path.basename(path) for path, _ in data.report.reassigned] == ["leak.jpg"]
    assert str(folder / "cats" / "leak.jpg") in data.files["validation"]
    assert not set(data.splits["train"].content_hashes()) & set(data.splits["validation"].content_hashes())
    assert all(str(held_out) not in path for path in data.files["train"])


def test_build_keeps_duplicates_in_one_split(folder):
    for number in range(4):
        shutil.copy(folder / "cats" / f"cat.{number}.jpg", folder / "cats" / f"zcopy.{number}.jpg")
    for seed in range(5):
        data = build(folder, validation=0.3, test=0.2, seed=seed)
        keys = [set(split.content_hashes()) for split in data.splits.values()]
        assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    assert len(data.report.duplicates) == 4


def test_build_of_a_copied_folder_in_another_process_is_equal(folder, tmp_path):
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, copy)
    code = (
        "import json, sys; from transferkit.data import DatasetBuilder; "
        "data = DatasetBuilder(sys.argv[1], validation=0.25, test=0.2, seed=5).build(); "
        "print(json.dumps({s: [f.split('/')[-1] for f in fs] for s, fs in data.files.items()}))"
    )
    printed = subprocess.run([sys.executable, "-c", code, copy], capture_output=True, text=True, check=True).stdout
    here = build(folder, validation=0.25, test=0.2, seed=5)
    assert eval(printed) == {split: [os.path.basename(path) for path in files] for split, files in here.files.items()}


def test_build_skips_and_logs_unreadable_files(folder, caplog):
    (folder / "cats" / "broken.jpg").write_bytes(encode(sample_image(), "JPEG")[:400])
    (folder / "dogs" / "page.jpg").write_text("<html></html>")
    (folder / "dogs" / "notes.txt").write_text("not an image, and nothing says so")
    (folder / ".hidden.jpg").write_text("hidden")
    with caplog.at_level(logging.WARNING, "transferkit"):
        data = build(folder)
    assert len(caplog.records) == 1 and "2 of 22" in caplog.text
    assert {os.path.basename(path): reason for path, reason in data.report.skipped} == {
        "broken.jpg": "it is truncated",
        "page.jpg": "it is an HTML page",
    }
    assert [os.path.basename(path) for path, _ in data.report.ignored] == ["notes.txt"]
    assert sum(len(labels) for _, labels in data.train) == 20
    with pytest.raises(ImageError, match=r"broken\.jpg.*truncated"):
        build(folder, on_error="raise")
    with pytest.raises(DataError, match="Received: 2 of 22 unreadable"):
        build(folder, max_skipped_fraction=0.05)


def test_build_subset_is_part_of_larger_subsets(folder):
    parts = [set(build(folder, subset=amount).files["train"]) for amount in (2, 0.5, 5)]
    assert [len(part) for part in parts] == [4, 10, 10] and parts[0] < parts[1] and parts[0] < parts[2]


def write_test_images(folder):
    """Six more cats and six more dogs, in `held_out/`."""
    for number in range(12):
        write_jpeg(folder.parent / "held_out" / ("cats", "dogs")[number % 2] / f"{number}.jpg", 500 + number)
    return folder.parent / "held_out"


def sizes_of(data):
    return {name: list(classes.values()) for name, classes in data.report.counts.items()}


def test_build_subset_leaves_separate_test_images_whole(folder):
    data = build(folder, validation=0.25, test=write_test_images(folder), subset=2)
    assert sizes_of(data) == {"train": [2, 2], "validation": [2, 2], "test": [6, 6]}
    cut = build(folder, validation=write_test_images(folder), subset=2)
    assert sizes_of(cut) == {"train": [2, 2], "validation": [2, 2]}


def test_build_subset_cuts_test_images_of_a_fraction(folder):
    held_out = write_test_images(folder)
    assert sizes_of(build(folder, test=0.5, subset=2)) == {"train": [2, 2], "test": [2, 2]}
    of_validation = build(folder, validation=held_out, test=6, subset=2)
    assert sizes_of(of_validation) == {"train": [2, 2], "validation": [2, 2], "test": [2, 2]}


def test_build_subset_leaves_test_split_of_source_whole(folder, tmp_path):
    held_out = write_test_images(folder)
    shutil.copytree(folder, tmp_path / "all" / "train")
    shutil.copytree(held_out, tmp_path / "all" / "test")
    assert sizes_of(build(tmp_path / "all", validation=0.25, subset=0.3)) == {
        "train": [3, 2],
        "validation": [1, 1],
        "test": [6, 6],
    }
    rows = [
        (path, path.parent.name, split)
        for split, root in (("train", folder), ("test", held_out))
        for path in root.rglob("*.jpg")
    ]
    table = pd.DataFrame(rows, columns=["path", "label", "split"])
    assert sizes_of(build(table, subset=2)) == {"train": [2, 2], "test": [6, 6]}


def test_folds_of_subset_leave_separate_test_images_whole(folder):
    for data in DatasetBuilder(folder, test=write_test_images(folder), subset=2, image_size=SIZE).folds(3):
        assert sizes_of(data) == {"train": [2, 2], "validation": [2, 2], "test": [6, 6]}


def test_build_weights_or_oversamples_small_classes(folder):
    data = build(folder)
    assert data.class_weight == {0: pytest.approx(20 / 24), 1: pytest.approx(20 / 16)}
    even = build(folder, balance="oversample")
    assert np.bincount(even.splits["train"].labels).tolist() == [12, 12]
    assert even.report.counts["train"] == {"cats": 12, "dogs": 8}
    assert set(even.files["train"]) == set(data.files["train"])


def test_folds_validate_each_image_once(folder):
    folds = list(DatasetBuilder(folder, test=0.2, image_size=SIZE).folds(4))
    held_out = [path for data in folds for path in data.files["validation"]]
    assert len(folds) == 4 and len(held_out) == len(set(held_out)) == 16
    for data in folds:
        assert data.files["test"] == folds[0].files["test"]
        assert not set(data.files["train"]) & set(data.files["validation"] + data.files["test"])


def test_show_marks_wrong_predictions(folder, tmp_path):
    data = build(folder, validation=0.25)
    predicted = ["cats"] * len(data.files["validation"])
    figure = data.show(tmp_path / "grid.png", split="validation", predictions=predicted)
    titles = sorted(axis.get_title() for axis in figure.axes if axis.get_title())
    assert titles == ["cats"] * 3 + ["cats, not dogs"] * 2
    assert (tmp_path / "grid.png").stat().st_size > 1000
    assert len([axis for axis in data.show().axes if axis.images]) == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 1.5}, r"`validation` must be a fraction in \(0, 1\).*Received: 1.5"),
        ({"test": 0}, "`test` must be a fraction"),
        ({"validation": "0.2"}, "`validation` must be a number, not text.* Received: '0.2'. Write validation=0.2"),
        ({"subset": "30 %"}, "`subset` must be a number, not text.* Received: '30 %'. Write subset=0.3"),
        ({"image_size": 0}, "`image_size` must be"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"resize": "streched"}, "Did you mean 'stretch'"),
        ({"on_error": "ignore"}, "`on_error` must be one of"),
        ({"balance": "weights"}, "`balance` must be one of"),
        ({"max_skipped_fraction": 2}, "`max_skipped_fraction` must be in"),
        ({"subset": -3}, "`subset` must be a fraction"),
    ],
)
def test_builder_refuses_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        DatasetBuilder("photos", **options)


@pytest.mark.parametrize("validation", [0.25, 5, "train"])
def test_build_refuses_split_that_is_given_twice(synthetic, validation):
    given = synthetic / validation if validation == "train" else validation
    message = rf"`validation` must be None .*Received: validation=.*{validation}'? for a source with 20 validation im"
    with pytest.raises(DataError, match=message):
        build(synthetic, validation=given)


def test_build_refuses_fractions_of_less_precision_that_leave_nothing():
    with pytest.raises(ValueError, match="with fractions whose sum is below 1"):
        DatasetBuilder("photos", validation=np.float32(0.1), test=np.float32(0.9))


def test_build_refuses_bad_sources(folder, tmp_path):
    empty = tmp_path / "empty"
    (empty / "cats").mkdir(parents=True)
    flat = tmp_path / "flat"
    write_jpeg(flat / "a.jpg", 1)
    one = tmp_path / "one"
    write_jpeg(one / "cats" / "a.jpg", 1)
    pairs = [
        (tmp_path / "missing", "there is no such folder"),
        (empty, "with no images"),
        (flat, "1 images that are not in a class folder"),
        (one, "at least two classes"),
        (3, "Received: int"),
        ((["a.jpg"], ["x", "y"]), "1 paths and 2 labels"),
        (pd.DataFrame({"path": ["a.jpg"]}), "must have a column 'label'"),
        ((np.zeros((2, 9, 9, 3), np.uint8), np.array([0, 1])), r"Give image_size=\(9, 9\)"),
        ((np.random.rand(2, *SIZE, 3), np.array([0, 1])), r"Multiply images in \[0, 1\] by 255"),
    ]
    for source, message in pairs:
        with pytest.raises(DataError, match=message):
            build(source)
    with pytest.raises(DataError, match="`class_names` must name all classes"):
        build(folder, class_names=["cats"])
    with pytest.raises(ValueError, match="must be None for folds"):
        next(DatasetBuilder(folder, validation=0.2).folds(3))
    with pytest.raises(DataError, match="`class_names` must be given"):
        build(tf.data.Dataset.from_tensors((tf.zeros((1, *SIZE, 3)), tf.zeros(1))))


def test_builder_image_spec_replaces_size(folder):
    spec = ImageSpec((20, 20), resize="crop", antialias=True)
    data = build(folder, image_spec=spec, image_size=20)
    with pytest.raises(ValueError, match=r"`image_spec` replaces `image_size` and `resize`. Received: .*\(24, 32\)"):
        build(folder, image_spec=spec)
    assert data.image_spec is spec and data.image_size == (20, 20)
    assert (
        repr(DatasetBuilder("photos", seed=3)) == "DatasetBuilder('photos', image_size=160x160, batch_size=32, seed=3)"
    )


def test_indexing_and_splitting_need_no_tensorflow():
    modules = [
        "data.index",
        "data.sources",
        "data.splitting",
        "data.report",
        "data.examples",
        "images.spec",
        "images.header",
    ]
    imports = "; ".join(f"import transferkit.{name}" for name in modules)
    code = f"import sys; {imports}; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def arrays(count=20):
    images = np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
    return images, np.arange(count) // (count * 3 // 4)


def test_build_of_arrays_subsamples_and_oversamples():
    small = build(arrays(), subset=0.4)
    assert np.bincount(small.splits["train"].labels).tolist() == [6, 2]
    even = build(arrays(), balance="oversample")
    assert np.bincount(even.splits["train"].labels).tolist() == [15, 15]
    assert even.report.counts["train"] == {"0": 15, "1": 5}
    images = 255 - arrays()[0]
    apart = build(arrays(), test=(images, np.arange(20) % 2), subset=3)
    assert sizes_of(apart) == {"train": [3, 3], "test": [10, 10]} and np.array_equal(
        apart.splits["test"].images, images
    )
    assert sizes_of(build(arrays(), test=0.4, subset=1)) == {"train": [1, 1], "test": [1, 1]}
    originals = {image.tobytes() for image in arrays()[0]}
    assert {image.tobytes() for image in even.splits["train"].images} == originals


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"resize": "pad"}, "resize"),
        ({"image_spec": ImageSpec(SIZE, antialias=True)}, "resize"),
        ({"label_separator": "|"}, "label_separator"),
        ({"cache_images": True}, "cache_images"),
        ({"weight_column": "weight"}, "weight_column"),
    ],
)
def test_builder_of_arrays_refuses_unsupported_options(options, name):
    with pytest.raises(ValueError, match=f"`{name}` is not supported for arrays"):
        build(arrays(), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"subset": 0.1},
        {"balance": "oversample"},
        {"label_separator": "|"},
        {"weight_column": "weight"},
        {"cache_images": True},
    ],
)
def test_builder_of_dataset_refuses_unsupported_options(options):
    source = tf.data.Dataset.from_tensor_slices(arrays())
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` is not supported for a tf.data.Dataset"):
        build(source, class_names=["a", "b"], **options)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("batched", [False, True])
def test_build_of_dataset_resizes_like_files(resize, batched):
    images = np.random.default_rng(0).integers(0, 256, (6, 40, 70, 3), dtype=np.uint8)
    source = tf.data.Dataset.from_tensor_slices((images, [0, 1] * 3))
    data = build(source.batch(4) if batched else source, class_names=["a", "b"], resize=resize, batch_size=3)
    resized = np.concatenate([batch for batch, _ in data.train])
    spec = ImageSpec(SIZE, resize=resize)
    assert np.array_equal(resized, [load_image(image, spec) for image in images])


def test_builder_refuses_label_separator_for_folders(folder):
    with pytest.raises(DataError, match="`label_separator` is supported for tables only"):
        build(folder, label_separator="|")


@pytest.mark.parametrize("class_names", ["cats", ["cats", "cats"], []])
def test_builder_refuses_bad_class_names(folder, class_names):
    with pytest.raises(ValueError, match="`class_names` must be a list of different names, or None. Received: "):
        DatasetBuilder(folder, class_names=class_names)


def test_data_repr_is_short(folder):
    data = build(folder, validation=0.25)
    assert repr(data).startswith("Data: 2 classes (cats, dogs), images 24x32") and len(repr(data)) < 2000
    assert repr(data.report) == str(data.report)
    assert repr(data.splits["train"]) == "Split('train', 15 images, 2 classes, from files)"


def test_splits_share_the_memory_cache_of_their_data(folder):
    one, other = build(folder, validation=0.25), build(folder, validation=0.25)
    caches = [split.memory_cache for data in (one, other) for split in data.splits.values()]
    assert caches[0] is caches[1] and caches[2] is caches[3] and caches[0] is not caches[2]
