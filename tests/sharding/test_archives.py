"""Features and predictions of archives: equal to those of files, in any process, and after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from tests.sharding.archive_files import png, write_tar
from tests.training.conftest import small_network
from transferkit.data import write_tfrecord
from transferkit.sharding import archive_source

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
COUNT, SIDE = 60, 32


@pytest.fixture(scope="module")
def backbone() -> tk.Backbone:
    return tk.BackboneFactory.create(small_network(), preprocessing="tf")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images in two folders, one of which is damaged."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(COUNT):
        path = folder / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no image" if number == 7 else png(number))
    return folder


@pytest.fixture(scope="module")
def archives(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images in three tar archives, in the order of the folder."""
    folder = tmp_path_factory.mktemp("archives")
    paths = sorted(photos.glob("*/*.png"))
    for number, start in enumerate(range(0, COUNT, 25)):
        part = paths[start : start + 25]
        members = [(str(path.relative_to(photos)), path.read_bytes()) for path in part]
        write_tar(folder / f"train-{number:03d}.tar", members)
    return folder


@pytest.fixture(scope="module")
def expected(backbone: tk.Backbone, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tk.Shards:
    return tk.extract_features(photos, backbone, out=tmp_path_factory.mktemp("expected"))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_source, "_PART_IMAGES", 16)


def check_equal(shards: tk.Shards, expected: tk.Shards) -> None:
    assert len(shards) == COUNT and shards.num_errors == 1
    columns = ["label", "error"]
    assert shards.table(columns).equals(expected.table(columns))
    np.testing.assert_allclose(shards.features(), expected.features(), atol=1e-5)


def test_features_are_those_of_the_folder(
    backbone: tk.Backbone, archives: Path, expected: tk.Shards, tmp_path: Path
) -> None:
    shards = tk.extract_features(archives, backbone, out=tmp_path / "out")
    check_equal(shards, expected)
    assert len(shards.files) == 3 and [table.num_rows for table in shards.tables()] == [25, 25, 10]
    assert shards.table(["path"]).column("path")[0].as_py() == f"{archives}/train-000.tar#a/00.png"
    assert "60 images in 3 shards" in repr(shards) and len(tk.Shards(tmp_path / "out")) == COUNT
    shards.to_parquet(tmp_path / "all.parquet")


def test_processes_give_the_same_files(
    backbone: tk.Backbone, archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in other processes.
    monkeypatch.setattr(archive_source, "_PART_IMAGES", 256)
    pattern = str(archives / "train-{000..002}.tar")
    alone = tk.extract_features(pattern, backbone, out=tmp_path / "alone")
    several = tk.extract_features(pattern, backbone, out=tmp_path / "several", engine=2)
    assert [Path(path).name for path in alone.files] == [Path(path).name for path in several.files]
    for mine, other in zip(alone.files, several.files):
        assert Path(mine).read_bytes() == Path(other).read_bytes()


def test_missing_shards_alone_are_computed_again(
    backbone: tk.Backbone, archives: Path, expected: tk.Shards, tmp_path: Path
) -> None:
    shards = tk.extract_features(archives, backbone, out=tmp_path)
    kept, missing = Path(shards.files[0]), Path(shards.files[1])
    before = kept.stat().st_mtime_ns
    missing.unlink()
    with pytest.raises(tk.DataError, match="All 3 shards must be complete"):
        tk.Shards(tmp_path)
    check_equal(tk.extract_features(archives, backbone, out=tmp_path), expected)
    assert kept.stat().st_mtime_ns == before and missing.exists()
    fewer = sorted(archives.glob("*.tar"))[:2]
    with pytest.raises(tk.DataError, match="Received: .* made of 3 archives .* now it would be of 2 archives"):
        tk.extract_features(fewer, backbone, out=tmp_path)


def test_predictions_of_archives(photos: Path, archives: Path, tmp_path: Path) -> None:
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    model = tk.build_classifier(backbone, tk.ClassifierHead(2))
    predictor = tk.Predictor(model, ["a", "b"], tk.ImageSpec((SIDE, SIDE)), activation="sigmoid")
    rows = tk.predict_many(archives, predictor, out=tmp_path / "archives").table().to_pylist()
    others = tk.predict_many(photos, predictor, out=tmp_path / "photos").table().to_pylist()
    assert len(rows) == COUNT
    for row, other in zip(rows, others):
        assert all(row[name] == other[name] for name in ("true_label", "label", "error"))
        assert row["p(a)"] == pytest.approx(other["p(a)"], abs=1e-5)
        assert row["path"].rpartition("#")[2] == str(Path(other["path"]).relative_to(photos))


def test_tfrecord_file_of_transferkit(backbone: tk.Backbone, photos: Path, tmp_path: Path) -> None:
    data = tk.DatasetBuilder(photos, image_size=SIDE, max_skipped_fraction=1, validation=0.2, progress=False).build()
    write_tfrecord(data, tmp_path / "images.tfrecord")
    shards = tk.extract_features(tmp_path / "images.tfrecord", backbone, out=tmp_path / "out")
    index = tk.DatasetBuilder(tmp_path / "images.tfrecord", image_size=SIDE, progress=False).build()
    names = {
        path: index.class_names[label]
        for split in index.splits.values()
        for path, label in zip(split.paths or (), split.labels)
    }
    table = shards.table(["path", "label"]).to_pylist()
    assert {row["path"]: row["label"] for row in table} == names and len(table) == COUNT - 1
    # The path is that of the record for every function that reads images.
    paths = [row["path"] for row in table]
    np.testing.assert_allclose(shards.features(), backbone.features(paths), atol=1e-5)


def test_archives_at_urls(backbone: tk.Backbone, archives: Path, expected: tk.Shards, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    memory = fsspec.filesystem("memory")
    memory.put(str(archives), "/archives", recursive=True)
    for number, source in enumerate(
        (
            "memory://archives",
            "memory://archives/train-*.tar",
            "memory://archives/train-{000..002}.tar",
            f"file://{archives}",
            [f"file://{path}" for path in sorted(archives.glob("*.tar"))],
        )
    ):
        check_equal(tk.extract_features(source, backbone, out=tmp_path / str(number)), expected)


@pytest.mark.parametrize("engine", [None, pytest.param(1, marks=pytest.mark.slow)])
def test_damaged_archive_stops_the_job_and_complete_shards_are_kept(
    engine: int | None, backbone: tk.Backbone, archives: Path, expected: tk.Shards, tmp_path: Path
) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    for path in archives.glob("*.tar"):
        (folder / path.name).write_bytes(path.read_bytes())
    damaged = folder / "train-001.tar"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2] + b"\1" * (len(whole) - len(whole) // 2))
    message = r"^An archive must be complete. Received: '.*train-001.tar', which is damaged after \d+ images"
    for _ in range(2):
        with pytest.raises(tk.ShardError, match=message):
            tk.extract_features(folder, backbone, out=tmp_path / "out", engine=engine)
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 1
    damaged.write_bytes(whole)
    check_equal(tk.extract_features(folder, backbone, out=tmp_path / "out", engine=engine), expected)


def test_shard_size_is_refused(backbone: tk.Backbone, archives: Path, tmp_path: Path) -> None:
    message = "`shard_size` must be left out where `source` is archives, each of which is one shard. Received: 512"
    with pytest.raises(ValueError, match=message):
        tk.extract_features(archives, backbone, out=tmp_path / "out", shard_size=512)
    assert not (tmp_path / "out").exists()


def test_description_has_the_number_of_archives(backbone: tk.Backbone, archives: Path, tmp_path: Path) -> None:
    tk.extract_features(archives, backbone, out=tmp_path)
    job = json.loads((tmp_path / "job.json").read_text())
    assert (job["num_rows"], job["shard_size"], job["num_shards"]) == (None, None, 3)
