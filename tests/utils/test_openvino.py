"""The import of OpenVINO."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
import types

import pytest

from transferkit import MissingExtraError
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
