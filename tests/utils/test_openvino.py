"""The import of OpenVINO."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import TIMEOUT
from transferkit import MissingExtraError
from transferkit._utils import openvino
from transferkit._utils.openvino import import_openvino, openvino_is_available, openvino_version

_TELEMETRY_CHECK = """
import sys
from transferkit._utils.openvino import import_openvino
openvino = import_openvino()
print(openvino.__name__, "openvino_telemetry" in sys.modules)
"""


def test_openvino_version_of_installed_package() -> None:
    assert openvino_is_available()
    assert openvino_version() == importlib.metadata.version("openvino")


def test_openvino_version_without_package_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    assert not openvino_is_available()
    with pytest.raises(MissingExtraError, match=r'\'openvino\'.*pip install "transferkit\[fast\]"') as error:
        openvino_version()
    assert error.value.extra == "fast"


def test_import_openvino_without_telemetry() -> None:
    run = subprocess.run([sys.executable, "-c", _TELEMETRY_CHECK], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["openvino", "False"]


def test_import_openvino_twice_is_one_module() -> None:
    assert import_openvino() is import_openvino() is sys.modules["openvino"]


def test_import_openvino_hides_imported_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry, seen = types.ModuleType("openvino_telemetry"), []
    monkeypatch.setitem(sys.modules, "openvino_telemetry", telemetry)
    monkeypatch.setattr(importlib, "import_module", lambda name: seen.append(sys.modules["openvino_telemetry"]))
    import_openvino()
    assert seen == [None] and sys.modules["openvino_telemetry"] is telemetry


def test_telemetry_stays_hidden_while_another_thread_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    first_is_importing, seen = threading.Event(), []

    def import_module(name: str) -> None:
        if name == "first":
            first_is_importing.set()
            # The other thread has the time to end its import.
            time.sleep(0.5)
            seen.append("openvino_telemetry" in sys.modules)

    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    monkeypatch.setattr(importlib, "import_module", import_module)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(import_openvino, "first")
        first_is_importing.wait(TIMEOUT)
        import_openvino("second")
        first.result()
    assert seen == [True]


def test_threads_get_one_core() -> None:
    class Package:
        def Core(self) -> object:
            time.sleep(0.2)
            return object()

    package = Package()
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as pool:
        patch.setattr(openvino, "import_openvino", lambda: package)
        cores = list(pool.map(lambda _: openvino.openvino_core(), range(4)))
    assert len({id(core) for core in cores}) == 1
