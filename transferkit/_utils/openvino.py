"""The one place that imports OpenVINO."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
import threading
from typing import Any

from transferkit._utils.cores import num_cores, num_threads
from transferkit.errors import MissingExtraError

_TELEMETRY = "openvino_telemetry"
_lock = threading.Lock()


def openvino_is_available() -> bool:
    """Return whether the package is installed."""
    return importlib.util.find_spec("openvino") is not None


def openvino_version() -> str:
    """Return the version of the installed package.

    Raises:
        MissingExtraError: when it is not installed.
    """
    if not openvino_is_available():
        raise MissingExtraError("The engine 'openvino'", "openvino", "fast")
    return importlib.metadata.version("openvino")


def import_openvino(module: str = "openvino") -> Any:
    """Return a module of OpenVINO, imported without its telemetry.

    Raises:
        MissingExtraError: when OpenVINO is not installed.
    """
    if not openvino_is_available():
        raise MissingExtraError("OpenVINO", "openvino", "openvino")
    # Importing OpenVINO sends usage data over the network and writes a client id into the home folder. Without the
    # telemetry package it falls back to its stub, so the package is hidden during the import, imported before or not.
    # One thread at a time: the end of an import in another would show the package again.
    with _lock:
        imported = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            return importlib.import_module(module)
        finally:
            if imported is None:
                sys.modules.pop(_TELEMETRY, None)
            else:
                sys.modules[_TELEMETRY] = imported


def openvino_core() -> Any:
    """Return the one `openvino.Core` of this process.

    The CPU plugin of each gives its thread an alternate stack for signals, and its end restores the stack before. Where
    several end in the order of their creation, that one is unmapped, and the next signal, such as Ctrl-C, kills the
    process. Seen with OpenVINO 2026.4.

    Raises:
        MissingExtraError: when OpenVINO is not installed.
    """
    openvino = import_openvino()
    # Two threads that come at the same time would otherwise make a core each.
    with _lock:
        return _core_of(openvino)


@functools.cache
def _core_of(openvino: Any) -> Any:
    return openvino.Core()


def thread_options() -> dict[str, Any]:
    """Return the options of a compilation that limit its threads, where fewer can work at once than there are cores."""
    if num_threads() == num_cores():
        return {}
    # Pinned threads of several processes would all be on the same cores.
    return {"INFERENCE_NUM_THREADS": num_threads(), "ENABLE_CPU_PINNING": False}
