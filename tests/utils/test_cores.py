"""The number of threads: cores, the limit of a container, and the environment variable."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from transferkit._utils import cores
from transferkit._utils.cores import container_limit, num_cores, num_threads, tensorflow_threads
from transferkit._utils.openvino import import_openvino, openvino_core, openvino_is_available, thread_options


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        # Version 2: in a container, the group of the container is the root.
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000", "cpu.max": "900000 100000"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        # Version 1: the path may be that of the machine.
        (
            "4:cpu,cpuacct:/docker/1\n3:memory:/x\n",
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        (
            "4:cpuacct,cpu:/a\n",
            {
                "cpu/a/cpu.cfs_quota_us": "25000",
                "cpu/a/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
            },
            0.25,
        ),
        # Both, and the limit of another controller.
        (
            "2:cpu:/\n1:cpuset:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000", "cpu.max": "100000 100000"},
            1,
        ),
        ("0::/\n", {}, math.inf),
        ("0::/\n", {"cpu.max": "7 0"}, math.inf),
        ("0::/\n", {"cpu.max": "?\n"}, math.inf),
        ("nothing", {}, math.inf),
    ],
)
def test_container_limit(groups: str, files: dict[str, str], limit: float, tmp_path: Path) -> None:
    write(tmp_path / "proc" / "self" / "cgroup", groups)
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    assert container_limit(tmp_path / "proc", tmp_path / "cgroup") == limit


def test_container_limit_without_control_groups_is_infinite(tmp_path: Path) -> None:
    assert container_limit(tmp_path, tmp_path) == math.inf


@pytest.mark.parametrize(("limit", "threads"), [(math.inf, 8), (0.2, 1), (2, 2), (2.1, 3), (20, 8)])
def test_num_threads_is_the_limit_rounded_up(limit: float, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSFERKIT_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "num_cores", lambda: 8)
    monkeypatch.setattr(cores, "container_limit", lambda: limit)
    assert num_threads() == threads


def test_environment_variable_replaces_the_limit_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: 8)
    monkeypatch.setattr(cores, "container_limit", lambda: 2)
    for text, threads in (("4", 4), ("100", 8), ("", 2)):
        monkeypatch.setenv("TRANSFERKIT_NUM_THREADS", text)
        assert num_threads() == threads


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_invalid_environment_variable_raises(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFERKIT_NUM_THREADS", text)
    with pytest.raises(ValueError, match=r"\$TRANSFERKIT_NUM_THREADS must be an integer of at least 1. Received: '"):
        num_threads()


@pytest.mark.skipif(not openvino_is_available(), reason="OpenVINO is not installed")
@pytest.mark.skipif(num_cores() < 2, reason="needs two cores")
def test_openvino_has_as_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = import_openvino()
    monkeypatch.delenv("TRANSFERKIT_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "container_limit", lambda: math.inf)
    assert thread_options() == {}
    monkeypatch.setenv("TRANSFERKIT_NUM_THREADS", "1")
    values = openvino.opset13.parameter([1, 4])
    model = openvino.Model([openvino.opset13.relu(values)], [values])
    compiled = openvino_core().compile_model(model, "CPU", thread_options())
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert not compiled.get_property("ENABLE_CPU_PINNING")


_THREADS = """
import sys, threading
from transferkit._utils.cores import limit_threads, tensorflow_threads
if sys.argv[1] == "limited":
    limit_threads(1)
import tensorflow as tf
tf.linalg.matmul(tf.ones((500, 500)), tf.ones((500, 500)))
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in __import__("os").listdir("/proc/self/task")]
print(tensorflow_threads(), sum(name.startswith("tf_Compute") for name in names))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads")
@pytest.mark.skipif(num_cores() < 2, reason="needs two cores")
def test_limit_of_threads_holds_for_tensorflow() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_NUM", "TRANSFERKIT"))}
    for mode, threads in (("free", num_cores()), ("limited", 1)):
        command = [sys.executable, "-c", _THREADS, mode]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(threads)] * 2


def test_tensorflow_threads_are_those_that_were_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(cores.tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    assert tensorflow_threads() == num_cores()
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert tensorflow_threads() == 3
    monkeypatch.setattr(cores.tf.config.threading, "get_intra_op_parallelism_threads", lambda: 5)
    assert tensorflow_threads() == 5
