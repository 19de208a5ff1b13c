"""`transferkit extract` and `transferkit predict --workers`: folders of shards, in this process and in several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.conftest import SMALL, Command
from tests.sharding.archive_files import write_tar
from transferkit.cli.main import main
from transferkit.cli.workers import sharding_arguments

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def test_extract_writes_the_features_of_a_folder(synthetic: Path, command: Command, tmp_path: Path) -> None:
    source, out = synthetic / "validation", tmp_path / "features"
    options = ["--backbone", SMALL, "--image-size", 32, "--shard-size", 8]
    result = command.json("extract", source, *options, "--out", out)
    assert result == {"path": str(out), "images": 20, "errors": 0, "shards": 3}
    backbone = tk.BackboneFactory.create(SMALL, input_shape=(32, 32, 3))
    expected = tk.extract_features(source, backbone, out=tmp_path / "expected")
    np.testing.assert_allclose(tk.Shards(out).features(), expected.features(), atol=1e-5)
    # The same command continues, here with nothing left.
    assert command.lines("extract", source, *options, "--out", out) == [f"{out}: 20 images, 0 errors, 3 shards"]


def test_extract_reads_archives(synthetic: Path, command: Command, tmp_path: Path) -> None:
    paths = sorted((synthetic / "validation").glob("*/*.jpg"))
    for number in range(2):
        members = [(f"{path.parent.name}/{path.name}", path.read_bytes()) for path in paths[number::2]]
        write_tar(tmp_path / f"train-{number}.tar", members)
    options = ["--backbone", SMALL, "--image-size", 32, 32]
    result = command.json("extract", tmp_path / "train-{0..1}.tar", *options, "--out", tmp_path / "one")
    assert (result["images"], result["shards"]) == (20, 2)
    listed = [tmp_path / "train-0.tar", tmp_path / "train-1.tar"]
    assert command.json("extract", *listed, *options, "--out", tmp_path / "two")["images"] == 20
    assert tk.Shards(tmp_path / "one").table().equals(tk.Shards(tmp_path / "two").table())
    error = command.error("extract", *listed, *options, "--shard-size", 4, "--out", tmp_path / "three")
    assert "`shard_size` must be left out where `source` is archives" in error


def test_predict_with_workers(run_folder: Path, synthetic: Path, command: Command, tmp_path: Path) -> None:
    images, out = synthetic / "validation", tmp_path / "shards"
    result = command.json("predict", run_folder, images, "--out", out, "--workers", 2, "--shard-size", 10)
    assert result == {"path": str(out), "images": 20, "errors": 0, "shards": 2}
    expected = tk.load(run_folder).predict(images)
    rows = tk.Shards(out).table().to_pylist()
    assert [(row["path"], row["label"]) for row in rows] == [(one.path, one.label) for one in expected]


def test_status_when_no_image_can_be_read(run_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "1.jpg"
    broken.parent.mkdir()
    broken.write_bytes(b"no image")
    predict = ["predict", str(run_folder), str(broken.parent), "--workers", "1", "--out", str(tmp_path / "out")]
    extract = ["extract", str(broken.parent), "--backbone", SMALL, "--image-size", "32", "--out", str(tmp_path / "f")]
    assert main(predict) == 1 and main(extract) == 1


@pytest.mark.parametrize(
    ("values", "engine"),
    [
        ({}, None),
        ({"workers": "3"}, 3),
        ({"workers": "ray"}, tk.RayEngine()),
        ({"workers": "local", "num_workers": 2}, tk.RayEngine("local", num_workers=2)),
        ({"workers": "ray://host:10001"}, tk.RayEngine("ray://host:10001")),
        ({"workers": "10.0.0.1:6379"}, tk.RayEngine("10.0.0.1:6379")),
    ],
)
def test_workers_are_processes_or_a_cluster(values: dict[str, Any], engine: Any) -> None:
    assert sharding_arguments({**values, "shard_size": 5}) == {"engine": engine, "shard_size": 5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "many"], "`workers` must be a number of processes of at least 1, ray, local, or the address"),
        (["--workers", "0"], "Received: '0'. Give, for example, 4"),
        (["--num-workers", "2"], "`num_workers` must be given with "),
    ],
)
def test_invalid_workers(arguments: list[str], message: str, command: Command, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "out"]
    assert message in command.error("extract", tmp_path, "--backbone", SMALL, *out, *arguments)
    assert message in command.error("predict", "run", tmp_path, *out, *arguments)


def test_predict_requires_out_with_workers(command: Command) -> None:
    assert "`out` must be given with `workers`" in command.error("predict", "run", "photos", "--workers", "2")
    error = command.error("predict", "run", "photos", "--shard-size", "2", "--out", "a.csv")
    assert "`shard_size` must be given with `workers`. Received: 2 alone" in error
