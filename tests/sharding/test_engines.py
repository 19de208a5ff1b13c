"""Workers of different machines: where the chosen engine does not work, a worker selects another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.training.conftest import small_network
from transferkit._utils.openvino import openvino_is_available

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
if not openvino_is_available():
    pytest.skip("OpenVINO is not installed", allow_module_level=True)
SIDE = 32
# What the processes of a machine do before anything else: it has no OpenVINO, or one that cannot be loaded.
MACHINES = {
    "missing": "import sys\nsys.modules['openvino'] = None\n",
    "broken": (
        "import importlib.abc, sys\n"
        "class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        return importlib.util.spec_from_loader(name, self) if name == 'openvino' else None\n"
        "    def create_module(self, spec):\n"
        "        raise ImportError('libopenvino.so: cannot open shared object file')\n"
        "    def exec_module(self, module):\n"
        "        pass\n"
        "import importlib.util\n"
        "sys.meta_path.insert(0, Broken())\n"
    ),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    paths = [str(folder / f"{number:02d}.png") for number in range(40)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    return paths


@pytest.fixture
def openvino_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process uses OpenVINO, however small the job is."""
    from transferkit.engines.selection import EngineSelector

    monkeypatch.setattr(EngineSelector, "fastest", lambda selector, count: selector.create("openvino"))


def other_machine(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the processes that are started from now on those of another machine, with a cache of its own."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(MACHINES[kind], encoding="utf-8")
    root = Path(tk.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{root}")
    monkeypatch.setenv("TRANSFERKIT_HOME", str(folder / "home"))


@pytest.mark.usefixtures("openvino_is_chosen")
@pytest.mark.parametrize("kind", list(MACHINES))
def test_features_of_another_engine_are_equal(
    kind: str, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    shards = tk.extract_features(photos, backbone, out=tmp_path / "out", shard_size=16)
    expected = shards.features()
    assert shards.engines == {"openvino": 3}
    Path(shards.files[1]).unlink()
    other_machine(kind, tmp_path / "machine", monkeypatch)
    mixed = tk.extract_features(photos, backbone, out=tmp_path / "out", shard_size=16, engine=1)
    assert mixed.engines == {"openvino": 2, "frozen_graph": 1}
    np.testing.assert_allclose(mixed.features(), expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    np.testing.assert_array_equal(mixed.features()[:16], expected[:16])


@pytest.mark.usefixtures("openvino_is_chosen")
def test_predictions_of_another_engine_are_equal(
    photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    model = tk.build_classifier(backbone, tk.ClassifierHead(3))
    predictor = tk.Predictor(
        model, ["a", "b", "c"], tk.ImageSpec((SIDE, SIDE)), activation="softmax", engine="openvino"
    )
    shards = tk.predict_many(photos, predictor, out=tmp_path / "out", shard_size=16)
    expected = shards.table().to_pylist()
    Path(shards.files[2]).unlink()
    other_machine("missing", tmp_path / "machine", monkeypatch)
    mixed = tk.predict_many(photos, predictor, out=tmp_path / "out", shard_size=16, engine=1)
    assert sorted(mixed.engines.values()) == [1, 2] and mixed.engines["openvino"] == 2
    rows = mixed.table().to_pylist()
    assert [row["label"] for row in rows] == [row["label"] for row in expected]
    assert [row["p(a)"] for row in rows] == pytest.approx([row["p(a)"] for row in expected], abs=1e-4)
