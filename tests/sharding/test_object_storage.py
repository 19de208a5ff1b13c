"""Images and shards at URLs: in memory, and on an S3 server with failing and slow requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.sharding.archive_files import write_tar
from tests.sharding.s3_server import Faults, s3_server
from tests.training.conftest import small_network

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
COUNT = 200


@pytest.fixture(scope="module")
def backbone() -> tk.Backbone:
    return tk.BackboneFactory.create(small_network(), preprocessing="tf")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        path = folder / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    return folder


def test_folder_at_a_url_and_shards_at_another(backbone: tk.Backbone, images: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(images), "/photos", recursive=True)
    memory.pipe_file("/photos/b/bad.png", b"no image")
    memory.pipe_file("/photos/notes.txt", b"text")
    shards = tk.extract_features("memory://photos", backbone, out="memory://features", shard_size=64)
    table = shards.table(["path", "label", "error"]).to_pylist()
    assert len(table) == COUNT + 1 and [row["label"] for row in table] == ["a"] * 100 + ["b"] * 101
    assert [row["path"].rpartition("/")[2] for row in table if row["error"]] == ["bad.png"]
    good = [index for index, row in enumerate(table) if not row["error"]]
    local = tk.extract_features(images, backbone, out=tmp_path)
    np.testing.assert_allclose(shards.features()[good], local.features(), atol=1e-6)
    # The same call reads the shards and computes nothing.
    again = tk.extract_features("memory://photos", backbone, out="memory://features", shard_size=64)
    np.testing.assert_array_equal(again.features(), shards.features())


def test_table_at_a_url_and_a_missing_file(backbone: tk.Backbone, images: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(images), "/table/images", recursive=True)
    memory.pipe_file("/table/photos.csv", b"path,label\nimages/a/000.png,x\nimages/a/missing.png,y\n")
    rows = (
        tk.extract_features("memory://table/photos.csv", backbone, out=tmp_path).table(["label", "error"]).to_pylist()
    )
    assert rows == [{"label": "x", "error": None}, {"label": "y", "error": "it cannot be read (there is no such file)"}]


def test_unknown_protocol_is_refused(backbone: tk.Backbone, tmp_path: Path) -> None:
    with pytest.raises(tk.DataError, match="must be of a file system that fsspec supports. Received: "):
        tk.extract_features("nosuch://photos", backbone, out=tmp_path)


def test_missing_package_is_named(backbone: tk.Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(tk.MissingExtraError, match=r"transferkit\[remote\]"):
        tk.extract_features("s3://bucket/photos", backbone, out=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [None, 2])
def test_s3_server_with_failing_and_slow_requests(
    engine: int | None, backbone: tk.Backbone, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("moto", reason="moto is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    expected = tk.extract_features(images, backbone, out=tmp_path / "expected", shard_size=32)
    archives = tmp_path / "archives"
    archives.mkdir()
    for folder in sorted(images.iterdir()):
        members = [(f"{folder.name}/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())]
        write_tar(archives / f"{folder.name}.tar", members)
    of_archives = tk.extract_features(archives, backbone, out=tmp_path / "of_archives")
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    faults = Faults(failed=0.0, delayed=0.0, seconds=0.3)
    with s3_server(faults) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        s3fs.S3FileSystem.clear_instance_cache()
        system = s3fs.S3FileSystem()
        system.mkdir("bucket")
        system.put(str(images), "bucket/photos", recursive=True)
        system.put(str(archives), "bucket/archives", recursive=True)
        faults.failed, faults.delayed, faults.requests = 0.02, 0.02, 0
        out = "s3://bucket/features"
        shards = tk.extract_features("s3://bucket/photos", backbone, out=out, shard_size=32, engine=engine)
        assert shards.num_errors == 0 and faults.failures > 0 and faults.requests >= COUNT
        np.testing.assert_array_equal(shards.features(), expected.features())
        assert shards.table(["label"]).equals(expected.table(["label"]))
        # Few requests are enough for archives: half of them fail.
        faults.failed, faults.requests, faults.failures = 0.5, 0, 0
        out = "s3://bucket/of_archives"
        shards = tk.extract_features("s3://bucket/archives", backbone, out=out, engine=engine)
        assert shards.num_errors == 0 and 0 < faults.failures < faults.requests < COUNT
        np.testing.assert_array_equal(shards.features(), of_archives.features())
    s3fs.S3FileSystem.clear_instance_cache()
