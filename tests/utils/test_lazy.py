"""Public names that are imported on first use."""

from __future__ import annotations

import sys
import types

import pytest

from transferkit._utils.lazy import lazy_getattr


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A package with the modules `shapes`, which defines Circle, and `units`."""
    package, shapes, units = (types.ModuleType(name) for name in ("fake", "fake.shapes", "fake.units"))
    shapes.Circle = object()  # type: ignore[attr-defined]
    package.__path__ = []
    package.__getattr__ = lazy_getattr("fake", {"Circle": "shapes", "units": "units"})  # type: ignore[method-assign]
    for module in (package, shapes, units):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return package


def test_lazy_getattr_returns_names_and_modules(package: types.ModuleType) -> None:
    assert package.Circle is sys.modules["fake.shapes"].Circle
    assert package.units is sys.modules["fake.units"]


def test_lazy_getattr_sets_name_on_first_use(package: types.ModuleType) -> None:
    assert "Circle" not in vars(package)
    circle = package.Circle
    assert vars(package)["Circle"] is circle


def test_lazy_getattr_unknown_name_raises(package: types.ModuleType) -> None:
    with pytest.raises(AttributeError, match=r"^module 'fake' has no attribute 'Circl'\. Did you mean 'Circle'\?$"):
        package.Circl  # noqa: B018
    with pytest.raises(AttributeError, match="^module 'fake' has no attribute 'zzz'$"):
        package.zzz  # noqa: B018
