"""How many threads this process should have.

Libraries start a thread for each core that they see. In a container with a limit of processor time, as `--cpus` of
Docker and the limits of Kubernetes set it, all cores of the machine are visible, and so many threads use the time up
at once: then all of them stand still until the next period.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transferkit._utils.lazy import LazyModule

_VARIABLE = "TRANSFERKIT_NUM_THREADS"
# TensorFlow reads them when it runs for the first time.
_TENSORFLOW, _TENSORFLOW_OPERATIONS = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"

tf: Any = LazyModule("tensorflow")


def num_cores() -> int:
    """Return the number of cores on which this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_threads() -> int:
    """Return the number of threads that can work at once.

    It is the number of cores, or less: $TRANSFERKIT_NUM_THREADS, or without it the limit of the container, rounded up.

    Raises:
        ValueError: when the variable is not a positive integer.
    """
    text = os.environ.get(_VARIABLE)
    if not text:
        return max(1, math.ceil(min(num_cores(), container_limit())))
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"${_VARIABLE} must be an integer of at least 1. Received: {text!r}. Change or unset it.")
    return min(num_cores(), int(text))


def limit_threads(count: int) -> None:
    """Give this process at most `count` threads per library, before it uses TensorFlow."""
    os.environ[_VARIABLE] = str(count)
    limit_tensorflow()


def limit_tensorflow() -> None:
    """Give TensorFlow as many threads as can work at once, unless its own variables say otherwise."""
    if num_threads() < num_cores():
        for variable in (_TENSORFLOW, _TENSORFLOW_OPERATIONS):
            os.environ.setdefault(variable, str(num_threads()))


def tensorflow_threads() -> int:
    """Return the number of threads of an operation of TensorFlow: with another one, it adds in another order."""
    chosen = int(tf.config.threading.get_intra_op_parallelism_threads())
    if chosen:
        return chosen
    text = os.environ.get(_TENSORFLOW, "")
    return int(text) if text.isdecimal() and int(text) else num_cores()


def environment_with_equal_threads() -> dict[str, str]:
    """Return the environment of a process that computes as this one does, with any part of the cores."""
    return {**os.environ, _TENSORFLOW: str(tensorflow_threads())}


def container_limit(processes: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the processor time that the control groups of this process allow, in cores; infinity without a limit.

    Args:
        processes: where the groups of this process are listed.
        groups: where the control groups are.

    Reference: https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    with contextlib.suppress(OSError):
        lines = (processes / "self" / "cgroup").read_text().splitlines()
        return min((limit for line in lines for limit in _limits(line, groups)), default=math.inf)
    return math.inf


def _limits(line: str, groups: Path) -> Iterator[float]:
    """Yield the limits of a group, "number:controllers:/path", and of all that contain it."""
    _, _, rest = line.partition(":")
    controllers, _, name = rest.partition(":")
    if controllers and "cpu" not in controllers.split(","):
        return
    root = groups / "cpu" if controllers else groups
    # In a container, the path may be that of the machine, and the group of the container is the root.
    paths = [root.joinpath(*Path(name).parts[1:depth]) for depth in range(1, len(Path(name).parts) + 1)]
    for path in paths:
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            if controllers:
                quota, period = ((path / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period"))
            else:
                quota, period = (path / "cpu.max").read_text().split()
            # "max" is no number, and -1 no limit.
            if int(quota) > 0:
                yield int(quota) / int(period)
