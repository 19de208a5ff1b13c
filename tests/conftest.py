"""Shared fixtures: real images and weights where they are available, a cache folder per test, synthetic images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

SHARED = Path(os.environ.get("TRANSFERKIT_SHARED") or Path(__file__).resolve().parents[2] / "shared")
# The time of an example depends on the load of the machine.
hypothesis.settings.register_profile("transferkit", deadline=None)
hypothesis.settings.load_profile("transferkit")


def pytest_report_header() -> str:
    if SHARED.is_dir():
        return f"real images and weights: {SHARED}"
    return f"real images and weights: none at {SHARED}; the tests that use them are skipped"


@pytest.fixture(scope="session", autouse=True)
def home_of_shared_fixtures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the fixtures of modules, which are made before `own_home`, out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_HOME", str(tmp_path_factory.mktemp("shared_home")))
        yield


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test out of the user's cache."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("TRANSFERKIT_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after every test the backbones that it registered."""
    from transferkit.backbones import registry

    monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the real images and weights, which are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def photos(shared: Path) -> Path:
    """The folder with train/ and validation/, each with cats/ and dogs/: 800 and 200 photographs."""
    return shared / "data" / "cats_and_dogs_sample"


@pytest.fixture(scope="session")
def mobilenet_weights(shared: Path) -> Path:
    """ImageNet weights of MobileNetV2(alpha=0.35, include_top=False)."""
    return shared / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic cats and dogs with train/ and validation/: 40 and 20 images of 64 pixels."""
    from transferkit.datasets import synthetic_cats_and_dogs

    folder = tmp_path_factory.mktemp("synthetic") / "sample"
    return synthetic_cats_and_dogs(folder, training=40, validation=20, size=64)
