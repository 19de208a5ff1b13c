"""Features and predictions in shards, in this process and in several: equality, order, errors, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.sharding.archive_files import write_tar
from tests.training.conftest import small_network
from tests.waiting import TIMEOUT, wait_until
from transferkit.calibration import Calibration

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
SIDE = 32


@pytest.fixture(scope="module")
def backbone() -> tk.Backbone:
    return tk.BackboneFactory.create(small_network(), preprocessing="tf")


@pytest.fixture(scope="module")
def predictor(synthetic: Path) -> tk.Predictor:
    data = tk.DatasetBuilder(synthetic, image_size=SIDE, batch_size=16, progress=False).build()
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)))
    trainer.fit(data, epochs=2, verbose=0)
    trainer.calibrate(data)
    return trainer.predictor()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images in two folders."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(40):
        path = folder / ("a" if number % 2 else "b") / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    return folder


def test_features_are_those_of_the_backbone_in_order(backbone: tk.Backbone, photos: Path, tmp_path: Path) -> None:
    shards = tk.extract_features(photos, backbone, out=tmp_path, shard_size=16)
    assert len(shards) == 40 and shards.num_errors == 0 and len(shards.files) == 3
    paths = sorted(map(str, photos.glob("*/*.png")))
    table = shards.table(["path", "label"])
    assert table.column("path").to_pylist() == paths
    assert table.column("label").to_pylist() == [Path(path).parent.name for path in paths]
    np.testing.assert_allclose(shards.features(), backbone.features(paths), atol=1e-5)


def test_processes_give_the_same_files(backbone: tk.Backbone, photos: Path, tmp_path: Path) -> None:
    alone = tk.extract_features(photos, backbone, out=tmp_path / "alone", shard_size=16)
    several = tk.extract_features(photos, backbone, out=tmp_path / "several", shard_size=16, engine=2)
    assert [os.path.basename(path) for path in alone.files] == [os.path.basename(path) for path in several.files]
    np.testing.assert_array_equal(alone.features(), several.features())
    assert list(several.engines.values()) == [3]


def test_predictions_are_those_of_predict_to(predictor: tk.Predictor, photos: Path, tmp_path: Path) -> None:
    shards = tk.predict_many(photos, predictor, out=tmp_path / "shards", shard_size=16)
    paths = sorted(map(str, photos.glob("*/*.png")))
    rows = shards.table().to_pylist()
    for row, one in zip(rows, predictor.predict(paths)):
        assert (row["path"], row["label"], row["error"]) == (one.path, one.label, None)
        assert row["is_certain"] == one.is_certain and row["true_label"] == Path(one.path or "").parent.name
        assert [row[f"p({name})"] for name in one.class_names] == pytest.approx(one.probability_array, abs=1e-5)


def test_image_that_cannot_be_read_is_a_row_with_an_error(
    backbone: tk.Backbone, predictor: tk.Predictor, photos: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"<html></html>")
    good = sorted(map(str, photos.glob("*/*.png")))[:3]
    listed = [*good[:2], str(bad), str(tmp_path / "missing.png"), good[2]]
    shards = tk.extract_features(listed, backbone, out=tmp_path / "features")
    errors = shards.table(["error"]).column("error").to_pylist()
    assert errors == [None, None, "it is an HTML page", "there is no such file", None] and shards.num_errors == 2
    features = shards.features()
    assert np.isnan(features[2:4]).all()
    np.testing.assert_allclose(features[[0, 1, 4]], backbone.features(good), atol=1e-5)
    rows = tk.predict_many(listed, predictor, out=tmp_path / "predictions").table().to_pylist()
    assert [row["error"] for row in rows] == errors
    assert [row["label"] is None for row in rows] == [False, False, True, True, False]


def test_crop_of_the_image_spec_is_applied_once(predictor: tk.Predictor, photos: Path, tmp_path: Path) -> None:
    spec = tk.ImageSpec((SIDE, SIDE), resize="crop", crop_fraction=0.5)
    cropped = tk.Predictor(predictor.model, predictor.class_names, spec, activation=predictor.activation)
    paths = sorted(map(str, photos.glob("*/*.png")))
    rows = tk.predict_many(paths, cropped, out=tmp_path).table().to_pylist()
    expected = [one.probability for one in cropped.predict(paths)]
    assert [row["probability"] for row in rows] == pytest.approx(expected, abs=1e-5)


def test_missing_shards_alone_are_computed_again(backbone: tk.Backbone, photos: Path, tmp_path: Path) -> None:
    shards = tk.extract_features(photos, backbone, out=tmp_path, shard_size=16)
    features, kept, missing = shards.features(), Path(shards.files[0]), Path(shards.files[1])
    before = kept.stat().st_mtime_ns
    missing.unlink()
    with pytest.raises(tk.DataError, match="All 3 shards must be complete. Received: .* without 1 of them.* is 1"):
        tk.Shards(tmp_path)
    again = tk.extract_features(photos, backbone, out=tmp_path, shard_size=16, engine=1)
    assert kept.stat().st_mtime_ns == before and missing.exists()
    np.testing.assert_array_equal(again.features(), features)


def test_other_images_or_model_are_refused_with_both_fingerprints(
    backbone: tk.Backbone, photos: Path, tmp_path: Path
) -> None:
    paths = sorted(map(str, photos.glob("*/*.png")))
    first = tk.extract_features(paths, backbone, out=tmp_path).job
    other = tk.BackboneFactory.create(small_network(), preprocessing="caffe")
    for images, model in ((paths[:-1], backbone), (paths[::-1], backbone), (paths, other)):
        with pytest.raises(tk.DataError, match="must be empty or have the shards of the same images") as error:
            tk.extract_features(images, model, out=tmp_path)
        assert first.manifest in str(error.value) and first.model in str(error.value)
    assert len(tk.Shards(tmp_path).features()) == 40


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_have_relative_paths_and_labels(kind: str, backbone: tk.Backbone, photos: Path, tmp_path: Path) -> None:
    import pandas

    names = ["a/01.png", "b/00.png", str(photos / "a" / "03.png")]
    table = pandas.DataFrame({"label": ["007", None, "x"], "path": names})
    path = photos / f"table.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    try:
        shards = tk.extract_features(path, backbone, out=tmp_path)
    finally:
        path.unlink()
    assert shards.table(["label"]).column("label").to_pylist() == ["007", None, "x"]
    expected = [str(photos / "a" / "01.png"), str(photos / "b" / "00.png"), names[2]]
    assert shards.table(["path"]).column("path").to_pylist() == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], r"`source` must have images. Received: \[\], with none"),
        (3, "`source` must be a folder, a .csv or .parquet table, or a list of paths. Received: int"),
        ("missing.csv", "`source` must be a table or a folder. Received: 'missing.csv': there is no such file"),
    ],
)
def test_invalid_sources_raise(source: object, message: str, backbone: tk.Backbone, tmp_path: Path) -> None:
    with pytest.raises(tk.DataError, match=message):
        tk.extract_features(source, backbone, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shard_size": 0}, "`shard_size` must be an integer of at least 1. Received: 0"),
        ({"engine": 0}, "`engine` must be an integer of at least 1. Received: 0. Give None, a number of processes"),
        ({"precision": "int8"}, "`precision` must be one of"),
    ],
)
def test_invalid_arguments_raise(
    arguments: dict[str, object], message: str, backbone: tk.Backbone, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        tk.extract_features(photos, backbone, out=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_damaged_description_is_refused(backbone: tk.Backbone, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(tk.DataError, match="job.json must describe a job. Received: .* which is damaged"):
        tk.extract_features(photos, backbone, out=tmp_path)
    with pytest.raises(tk.DataError, match="must have the shards of a job. Received: .* without job.json"):
        tk.Shards(tmp_path / "other")


def test_one_parquet_file_has_all_rows(backbone: tk.Backbone, photos: Path, tmp_path: Path) -> None:
    import pandas

    shards = tk.extract_features(photos, backbone, out=tmp_path / "shards", shard_size=16)
    shards.to_parquet(tmp_path / "all.parquet")
    frame = pandas.read_parquet(tmp_path / "all.parquet")
    np.testing.assert_array_equal(np.stack(frame["features"]), shards.features())


SCRIPT = """
import sys
import transferkit as tk
from tests.sharding.archive_files import write_tar
from tests.training.conftest import small_network
backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
print("ready", flush=True)
tk.extract_features(sys.argv[1], backbone, out=sys.argv[2], shard_size=int(sys.argv[3]) or None, engine=2)
"""


@pytest.fixture(scope="module")
def archives(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images in archives of two."""
    folder = tmp_path_factory.mktemp("archives")
    paths = sorted(photos.glob("*/*.png"))
    for start in range(0, len(paths), 2):
        members = [(str(path.relative_to(photos)), path.read_bytes()) for path in paths[start : start + 2]]
        write_tar(folder / f"train-{start:02d}.tar", members)
    return folder


# One process is killed in every run, others in the slow ones: starting processes again takes most of the time.
@pytest.mark.parametrize(
    ("kind", "victim"),
    [
        ("photos", "worker"),
        pytest.param("photos", "driver", marks=pytest.mark.slow),
        pytest.param("archives", "worker", marks=pytest.mark.slow),
        pytest.param("archives", "driver", marks=pytest.mark.slow),
    ],
)
def test_killed_processes_lose_nothing(
    kind: str, victim: str, backbone: tk.Backbone, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(kind)
    shard_size = 2 if kind == "photos" else None
    expected = tk.extract_features(source, backbone, out=tmp_path / "expected", shard_size=shard_size).features()
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(source), str(out), str(shard_size or 0)]
    driver = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    try:
        wait_until(lambda: len(list(out.glob("*.parquet"))) >= 3 or driver.poll() is not None)
        if victim == "driver":
            driver.kill()
        else:
            os.kill(children(driver.pid)[0], signal.SIGKILL)
            assert driver.wait(TIMEOUT) == 0
    finally:
        driver.kill()
        driver.wait()
    shards = tk.extract_features(source, backbone, out=out, shard_size=shard_size, engine=1)
    np.testing.assert_array_equal(shards.features(), expected)
    written = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert written == {*map(os.path.basename, shards.files), "job.json"}


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    threads = Path(f"/proc/{pid}/task").iterdir() if found.parent.exists() else []
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


@pytest.mark.slow
def test_shard_that_ends_its_process_again_and_again_raises(
    backbone: tk.Backbone, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A model file that cannot be read ends each process at its start.
    import transferkit.sharding.run as run

    original = run.save_work

    def save_damaged(folder: Path, *arguments: object) -> None:
        original(folder, *arguments)  # type: ignore[arg-type]
        (folder / "model.keras").write_bytes(b"no model")

    monkeypatch.setattr(run, "save_work", save_damaged)
    with pytest.raises(tk.ShardError, match="Received: shard 0, whose process ended 3 times: .*"):
        tk.extract_features(photos, backbone, out=tmp_path, engine=1)
    assert json.loads((tmp_path / "job.json").read_text())["num_rows"] == 40


def test_predicted_numbers_are_those_of_predict_to(photos: Path, tmp_path: Path) -> None:
    inputs = keras.Input((SIDE, SIDE, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(mean))
    calibration = Calibration(half_width=2.5, coverage=0.9)
    numbers = tk.Predictor(model, (), tk.ImageSpec((SIDE, SIDE)), activation="linear", calibration=calibration)
    paths = sorted(map(str, photos.glob("*/*.png")))
    for engine in (None, 1):
        rows = tk.predict_many(paths, numbers, out=tmp_path / str(engine), engine=engine).table().to_pylist()
        for row, one in zip(rows, numbers.predict(paths)):
            assert (row["path"], row["error"]) == (one.path, None)
            assert [row["value"], row["low"], row["high"]] == pytest.approx([one.value, one.low, one.high], abs=1e-3)
