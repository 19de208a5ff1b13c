"""Features in shards as data: splits, training of heads, and what requires images."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.data.array_splitting import sample_ranks, split_rows
from transferkit.data.splitting import stratified_split
from transferkit.engines.selection import EngineSelector

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
SIDE = 32
SIZES = {"validation": 0.2, "test": 0.2}


@pytest.fixture(scope="module", autouse=True)
def one_engine() -> Iterator[None]:
    """The engine that is estimated to be the fastest depends on times that were measured before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EngineSelector, "fastest", lambda selector, count: selector.create("frozen_graph"))
        yield


@pytest.fixture(scope="module")
def photos(synthetic: Path) -> Path:
    """Forty images of two classes."""
    return synthetic / "train"


@pytest.fixture(scope="module")
def backbone() -> tk.Backbone:
    return tk.BackboneFactory.create(small_network(), preprocessing="tf")


@pytest.fixture(scope="module")
def shards(photos: Path, backbone: tk.Backbone, tmp_path_factory: pytest.TempPathFactory) -> tk.Shards:
    out = tmp_path_factory.mktemp("shards")
    return tk.extract_features(photos, backbone, out=out, shard_size=16, progress=False)


@pytest.fixture(scope="module")
def images(photos: Path) -> tk.Data:
    return tk.DatasetBuilder(photos, image_size=SIDE, seed=3, progress=False, **SIZES).build()


def head(backbone: tk.Backbone, classes: int = 2, **options: object) -> keras.Model:
    keras.utils.set_random_seed(0)
    return tk.build_classifier(backbone, tk.ClassifierHead(classes, **options))


def test_splits_are_those_of_the_images(shards: tk.Shards, images: tk.Data, backbone: tk.Backbone) -> None:
    data = shards.to_data(seed=3, **SIZES)
    assert data.class_names == images.class_names and data.image_spec == images.image_spec
    assert data.report.counts == images.report.counts
    for name, split in images.splits.items():
        np.testing.assert_array_equal(data.splits[name].labels, split.labels)
        expected = backbone.features(list(split.paths or ()))
        np.testing.assert_allclose(np.asarray(data.splits[name].features.array), expected, atol=1e-5)


def test_head_is_that_of_the_images(shards: tk.Shards, images: tk.Data, backbone: tk.Backbone) -> None:
    data = shards.to_data(seed=3, **SIZES)
    trainers = [tk.Trainer(head(backbone), seed=1) for _ in range(2)]
    histories = [trainer.fit(one, epochs=3, verbose=0).history for trainer, one in zip(trainers, (data, images))]
    for name, values in histories[1].items():
        assert histories[0][name] == pytest.approx(values, abs=1e-4), name
    reports = [trainer.evaluate(one.test) for trainer, one in zip(trainers, (data, images))]
    assert reports[0].accuracy == reports[1].accuracy
    np.testing.assert_allclose(reports[0].probabilities, reports[1].probabilities, atol=1e-4)
    for trainer, one in zip(trainers, (data, images)):
        trainer.calibrate(one)
    paths = list(images.splits["test"].paths or ())
    first, second = (trainer.predict(paths) for trainer in trainers)
    assert [one.label for one in first] == [one.label for one in second]


def test_batches_have_features_in_the_place_of_images(shards: tk.Shards) -> None:
    data = shards.to_data(seed=3, batch_size=8, **SIZES)
    split = data.splits["validation"]
    features, labels = (np.concatenate(parts) for parts in zip(*data.validation.as_numpy_iterator()))
    np.testing.assert_array_equal(features, np.asarray(split.features.array))
    np.testing.assert_array_equal(labels, split.labels)
    epochs = [np.concatenate([labels for _, labels in data.train.as_numpy_iterator()]) for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(data.splits["train"].labels)
    assert (epochs[0] != epochs[1]).any()


@pytest.mark.parametrize("kind", ["0.npy", "keys", "parquet"])
def test_copies_are_made_once_and_again_when_they_are_damaged(kind: str, shards: tk.Shards, own_home: Path) -> None:
    expected = np.asarray(shards.to_data().splits["train"].features.array)
    files = {path: path.stat().st_mtime_ns for path in (own_home / "shards").rglob("*.*") if path.suffix != ".checked"}
    shards.to_data()
    assert len({path.name.split(".")[0] for path in files} - {""}) == len(shards.files)
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())
    damaged = next(path for path in files if path.name.endswith(f".{kind}"))
    contents = damaged.read_bytes()
    damaged.write_bytes(contents[:-20] + bytes(byte ^ 1 for byte in contents[-20:]))
    again = shards.to_data()
    np.testing.assert_array_equal(np.asarray(again.splits["train"].features.array), expected)
    changed = {path.name.split(".")[0] for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert changed == {damaged.name.split(".")[0]}
    assert tk.cache.info().sizes["shards"] > 0


def test_images_that_changed_have_new_features(photos: Path, backbone: tk.Backbone, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    before = tk.extract_features(folder, backbone, out=tmp_path / "before", progress=False)
    old = np.asarray(before.to_data().splits["train"].features.array)
    changed = sorted(folder.glob("*/*"))[3]
    Image.new("RGB", (40, 40), "red").save(changed)
    after = tk.extract_features(folder, backbone, out=tmp_path / "after", progress=False)
    # The paths are the same, and so is the job.
    assert after.job == before.job
    new = np.asarray(after.to_data().splits["train"].features.array)
    np.testing.assert_array_equal(new, after.features())
    assert (new != old).any(axis=1).tolist() == [row == 3 for row in range(len(new))]


def test_damaged_shard_is_named(photos: Path, backbone: tk.Backbone, tmp_path: Path) -> None:
    shards = tk.extract_features(photos, backbone, out=tmp_path, shard_size=16, progress=False)
    path = Path(shards.files[1])
    path.write_bytes(path.read_bytes()[:-100])
    for use in (lambda: len(tk.Shards(tmp_path)), tk.Shards(tmp_path).features, tk.Shards(tmp_path).to_data):
        with pytest.raises(tk.DataError, match=f"A shard must be readable. Received: '{path}' .* Delete it"):
            use()
    path.unlink()
    assert len(tk.extract_features(photos, backbone, out=tmp_path, shard_size=16, progress=False)) == len(shards)


def test_one_shard(shards: tk.Shards) -> None:
    assert shards.shard(2, ["label"]).num_rows == len(shards) - 32
    assert shards.shard(0).equals(next(shards.tables()))
    with pytest.raises(ValueError, match="`number` must be below the number of shards, 3. Received: 3"):
        shards.shard(3)


def test_interrupted_training_is_resumed(shards: tk.Shards, backbone: tk.Backbone, tmp_path: Path) -> None:
    data = shards.to_data(seed=3, **SIZES)

    def trained(folder: Path, **options: object) -> np.ndarray:
        trainer = tk.Trainer(head(backbone), checkpoint_dir=folder)
        trainer.fit(data, epochs=4, verbose=0, **options)
        return np.asarray(trainer.model.trainable_variables[0])

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            if epoch == 2:
                raise RuntimeError("interrupted")

    whole = trained(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="interrupted"):
        trained(tmp_path / "interrupted", callbacks=[Stop()])
    np.testing.assert_array_equal(trained(tmp_path / "interrupted"), whole)


def test_rows_with_errors_or_without_label_are_left_out(photos: Path, backbone: tk.Backbone, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / next(folder.iterdir()).name / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    lone = next(photos.glob("*/*"))
    shutil.copy(lone, folder / f"lone{lone.suffix}")
    shards = tk.extract_features(folder, backbone, out=tmp_path / "out", shard_size=16, progress=False)
    data = shards.to_data()
    assert len(data.splits["train"]) == len(shards) - 2
    reasons = {Path(path).name: reason for path, reason in data.report.skipped}
    assert reasons[f"lone{lone.suffix}"] == "it has no label" and "bad.png" in reasons
    assert np.isfinite(np.asarray(data.splits["train"].features.array)).all()


def test_duplicates_are_in_one_split(photos: Path, backbone: tk.Backbone, tmp_path: Path) -> None:
    paths = sorted(map(str, photos.glob("*/*")))
    for number, path in enumerate(paths[::3]):
        shutil.copy(path, Path(path).parent / f"copy-{number}{Path(path).suffix}")
    try:
        shards = tk.extract_features(photos, backbone, out=tmp_path, shard_size=16, progress=False)
        data = shards.to_data(**SIZES)
    finally:
        for path in photos.glob("*/copy-*"):
            path.unlink()
    hashes = [set(split.content_hashes()) for split in data.splits.values()]
    assert not (hashes[0] & hashes[1] or hashes[0] & hashes[2] or hashes[1] & hashes[2])


def test_numbers_as_labels(photos: Path, backbone: tk.Backbone, tmp_path: Path) -> None:
    import pandas

    paths = sorted(map(str, photos.glob("*/*")))
    table = pandas.DataFrame({"path": paths, "label": np.arange(len(paths)) / 10})
    table.to_parquet(tmp_path / "table.parquet")
    shards = tk.extract_features(tmp_path / "table.parquet", backbone, out=tmp_path / "out", progress=False)
    data = shards.to_data(validation=0.25, target="number")
    assert data.target == "number" and sum(map(len, data.splits.values())) == len(paths)
    keras.utils.set_random_seed(0)
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.RegressionHead()))
    assert np.isfinite(trainer.fit(data, epochs=2, verbose=0).history["val_loss"]).all()
    with pytest.raises(tk.DataError, match="A label must be a finite number for target=.number"):
        tk.extract_features(photos, backbone, out=tmp_path / "texts", progress=False).to_data(target="number")


def test_another_backbone_is_refused(shards: tk.Shards, backbone: tk.Backbone) -> None:
    data = shards.to_data(**SIZES)
    other = tk.BackboneFactory.create(small_network(), preprocessing="caffe")
    with pytest.raises(tk.DataError, match="must be the outputs of the frozen part of the classifier. Received: feat"):
        tk.Trainer(head(other)).fit(data, epochs=1, verbose=0)
    with pytest.raises(tk.DataError, match="must be the outputs of the frozen part"):
        tk.Trainer(head(backbone, pooling="max")).fit(data, epochs=1, verbose=0)


def test_what_requires_images_is_refused(shards: tk.Shards, backbone: tk.Backbone, tmp_path: Path) -> None:
    data = shards.to_data(**SIZES)
    trainer = tk.Trainer(head(backbone))
    trainer.fit(data, epochs=1, verbose=0)
    # Fine-tuning unfreezes it.
    other = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    requires = "requires images. Received: (the split .* of )?stored features"
    for use in (
        lambda: tk.Trainer(head(backbone), cache=False).fit(data, epochs=1, verbose=0),
        lambda: tk.Trainer(head(other)).fine_tune(data, epochs=1, verbose=0),
        lambda: data.show(tmp_path / "images.png"),
        lambda: tk.autofit(data, time_limit=60, backbones=[backbone]),
        lambda: tk.inspect(data, backbone=backbone),
        lambda: tk.compare_backbones(data, [backbone]),
        lambda: tk.data.write_tfrecord(data, tmp_path / "images.tfrecord"),
        lambda: backbone.features(data.splits["test"]),
        lambda: trainer.predict(data.splits["test"]),
        lambda: trainer.predictor().evaluate(data.test),
    ):
        with pytest.raises(tk.DataError, match=requires):
            use()
    with pytest.raises(ValueError, match="`feature_dtype` must be 'float32' for stored features"):
        tk.Trainer(head(backbone), feature_dtype="float16").fit(data, epochs=1, verbose=0)


def test_arguments_are_checked(shards: tk.Shards, backbone: tk.Backbone, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`validation` must be a fraction in"):
        shards.to_data(validation=1.5)
    with pytest.raises(ValueError, match="`validation` and `test` must leave images"):
        shards.to_data(validation=0.5, test=0.5)
    with pytest.raises(tk.DataError, match="`class_names` must name all classes"):
        shards.to_data(class_names=["x", "y"])
    paths = sorted(map(str, photos.glob("*/*")))
    unlabeled = tk.extract_features(paths, backbone, out=tmp_path / "unlabeled", progress=False)
    with pytest.raises(tk.DataError, match="must have images with labels. Received: .*, with none"):
        unlabeled.to_data()
    first = sorted(photos.iterdir())[0]
    (tmp_path / "one").mkdir()
    shutil.copytree(first, tmp_path / "one" / first.name)
    one = tk.extract_features(tmp_path / "one", backbone, out=tmp_path / "one class", progress=False)
    with pytest.raises(tk.DataError, match="at least two classes, each with training images"):
        one.to_data()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), min_size=1, max_size=60),
    st.sampled_from([{"validation": 0.3}, {"test": 0.2, "validation": 0.3}, {"test": 0.01}, {"validation": 0.9}]),
    st.integers(0, 5),
)
def test_splits_of_arrays_are_those_of_lists(rows: list[tuple[str, int]], sizes: dict[str, float], seed: int) -> None:
    ids = [f"{label}/{number:03d}.jpg" for number, (label, _) in enumerate(rows)]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    ids, rows = [ids[row] for row in order], [rows[row] for row in order]
    labels = [label for label, _ in rows]
    names = sorted(set(labels))
    expected = stratified_split(ids, labels, sizes, seed=seed, groups=[f"{digest:032x}" for _, digest in rows])
    digests = np.array([digest for _, digest in rows], np.uint64)
    strata = np.array([names.index(label) for label in labels]), names
    found = split_rows(sample_ranks(ids, seed), strata, digests, sizes, seed=seed)
    assert {name: part.tolist() for name, part in found.items()} == expected


def test_shards_at_a_url(photos: Path, shards: tk.Shards, backbone: tk.Backbone, own_home: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    out = f"memory://{own_home.name}/features"
    remote = tk.extract_features(photos, backbone, out=out, shard_size=16, progress=False)
    assert len(remote) == len(shards) and remote.engines == shards.engines
    here, there = (one.to_data(seed=3, **SIZES).splits["test"] for one in (shards, remote))
    np.testing.assert_array_equal(here.labels, there.labels)
    np.testing.assert_array_equal(np.asarray(here.features.array), np.asarray(there.features.array))


def test_description_larger_than_the_last_bytes(
    photos: Path, shards: tk.Shards, backbone: tk.Backbone, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    monkeypatch.setattr("transferkit.sharding.storage._END_BYTES", 16)
    out = f"memory://{own_home.name}/features"
    assert len(tk.extract_features(photos, backbone, out=out, shard_size=16, progress=False)) == len(shards)


def test_archives_give_the_data_of_a_folder(photos: Path, backbone: tk.Backbone, tmp_path: Path) -> None:
    for number, name in enumerate(("cats", "dogs")):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as archive:
            for path in sorted((photos / name).iterdir()):
                archive.add(path, arcname=f"{name}/{path.name}")
    archives = [str(tmp_path / f"{number}.tar") for number in range(2)]
    data = tk.extract_features(archives, backbone, out=tmp_path / "out", progress=False).to_data(validation=0.2)
    expected = tk.extract_features(photos, backbone, out=tmp_path / "folder", progress=False).to_data(validation=0.2)
    assert data.report.counts == expected.report.counts
    # The splits are others, because the names of the archives are part of those of the images.
    sums = [
        [
            sum(np.asarray(split.features.array)[split.labels == label].sum(0) for split in one.splits.values())
            for label in (0, 1)
        ]
        for one in (data, expected)
    ]
    np.testing.assert_allclose(sums[0], sums[1], atol=1e-4)


def test_job_of_another_format_is_refused(photos: Path, backbone: tk.Backbone, tmp_path: Path) -> None:
    tk.extract_features(photos, backbone, out=tmp_path, progress=False)
    values = json.loads((tmp_path / "job.json").read_text())
    for damaged, message in (
        ({**values, "version": 1}, "must have format 2. Received: .* with format 1"),
        ({**values, "extra": 1}, "which is damaged"),
    ):
        (tmp_path / "job.json").write_text(json.dumps(damaged))
        with pytest.raises(tk.DataError, match=message):
            tk.Shards(tmp_path)
