"""Backbones of timm from files of PyTorch: tensors of each format, all of them used, and hostile files refused."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.backbones.torch_checkpoint import load_torch_tensors

safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
pytest.importorskip("keras_hub", reason="needs the extra `hub`")

SHAPE = (64, 64, 3)


class _Storage:
    """A storage in a pickle, as PyTorch writes it: a reference to a file of values."""

    def __init__(self, kind: str, key: str, count: int) -> None:
        self.pid = ("storage", _Global("torch", kind), key, "cpu", count)


class _Global:
    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Rebuild:
    def __init__(self, storage: _Storage, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.arguments = (storage, 0, shape, strides, False, {})


class _Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes references to names of PyTorch without importing it."""

    def persistent_id(self, item: Any) -> Any:
        return item.pid if isinstance(item, _Storage) else None

    def save(self, item: Any, save_persistent_id: bool = True) -> None:
        if isinstance(item, _Global):
            self.write(b"c" + f"{item.module}\n{item.name}\n".encode())
        elif isinstance(item, _Rebuild):
            self.save(_Global("torch._utils", "_rebuild_tensor_v2"))
            self.save(item.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(item, save_persistent_id)


KINDS = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def write_zip(
    path: Path, tensors: dict[str, np.ndarray], *, outer: str | None = None, compressed: bool = False
) -> None:
    """Write a checkpoint as torch.save does."""
    described = {}
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for key, (name, array) in enumerate(tensors.items()):
            strides = tuple(stride // array.itemsize for stride in array.strides)
            storage = _Storage(KINDS[str(array.dtype)], str(key), array.size)
            described[name] = _Rebuild(storage, array.shape, strides)
            archive.writestr(f"archive/data/{key}", array.tobytes(order="A"))
        buffer = io.BytesIO()
        _Pickler(buffer, protocol=2).dump(described if outer is None else {outer: described, "epoch": 3})
        archive.writestr("archive/data.pkl", buffer.getvalue())
        archive.writestr("archive/byteorder", "little")


def state_dict() -> dict[str, np.ndarray]:
    """Return random tensors of a ResNet-18 of timm, with a classifier."""
    generator = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}

    def convolution(name: str, outputs: int, inputs: int, size: int) -> None:
        scale = np.sqrt(2 / (inputs * size * size))
        tensors[f"{name}.weight"] = generator.normal(0, scale, (outputs, inputs, size, size)).astype("float32")

    def normalization(name: str, size: int) -> None:
        for part, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            tensors[f"{name}.{part}"] = generator.uniform(low, low + 1, size).astype("float32")
        tensors[f"{name}.num_batches_tracked"] = np.array(3, "int64")

    convolution("conv1", 64, 3, 7)
    normalization("bn1", 64)
    inputs = 64
    for stage, outputs in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            prefix = f"layer{stage}.{block}"
            convolution(f"{prefix}.conv1", outputs, inputs, 3)
            normalization(f"{prefix}.bn1", outputs)
            convolution(f"{prefix}.conv2", outputs, outputs, 3)
            normalization(f"{prefix}.bn2", outputs)
            if inputs != outputs:
                convolution(f"{prefix}.downsample.0", outputs, inputs, 1)
                normalization(f"{prefix}.downsample.1", outputs)
            inputs = outputs
    tensors["fc.weight"], tensors["fc.bias"] = np.ones((5, 512), "float32"), np.zeros(5, "float32")
    return tensors


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return state_dict()


def create(path: Path) -> tk.Backbone:
    return tk.BackboneFactory.create("timm:resnet18", input_shape=SHAPE, weights=path, preprocessing="torch")


def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (2, *SHAPE)).astype("float32")


def test_all_formats_give_the_same_features(tensors: dict[str, np.ndarray], tmp_path: Path) -> None:
    safetensors.save_file(tensors, str(tmp_path / "model.safetensors"))
    write_zip(tmp_path / "model.pth", tensors)
    write_zip(tmp_path / "nested.pt", {f"module.{name}": value for name, value in tensors.items()}, outer="state_dict")
    expected = np.asarray(create(tmp_path / "model.safetensors")(images()))
    assert expected.shape == (2, 2, 2, 512) and np.ptp(expected) > 0
    for name in ("model.pth", "nested.pt"):
        assert create(tmp_path / name).check_features(images(), expected) == 0
    np.save(tmp_path / "images.npy", images())
    np.save(tmp_path / "features.npy", expected.transpose(0, 3, 1, 2))
    backbone = create(tmp_path / "model.pth")
    assert backbone.check_features(tmp_path / "images.npy", tmp_path / "features.npy") == 0


def test_first_convolution_is_that_of_the_file(tensors: dict[str, np.ndarray], tmp_path: Path) -> None:
    safetensors.save_file(tensors, str(tmp_path / "model.safetensors"))
    kernel = create(tmp_path / "model.safetensors").model.get_layer("conv1_conv").kernel
    np.testing.assert_array_equal(kernel, tensors["conv1.weight"].transpose(2, 3, 1, 0))


def test_file_trains_and_is_saved_without_it(tensors: dict[str, np.ndarray], synthetic: Path, tmp_path: Path) -> None:
    write_zip(tmp_path / "model.pth", tensors)
    data = tk.DatasetBuilder(synthetic, image_size=SHAPE[0], batch_size=16).build()
    trainer = tk.Trainer(tk.build_classifier(create(tmp_path / "model.pth"), tk.ClassifierHead(2)))
    trainer.fit(data, epochs=1, verbose=0)
    expected = [one.probability_array for one in trainer.predict(data.splits["validation"])]
    (tmp_path / "model.pth").unlink()
    loaded = tk.load(trainer.save(tmp_path / "saved"), engine="keras")
    actual = [one.probability_array for one in loaded.predict(data.splits["validation"])]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"layer4.1.conv2.weight": None},
            "must have every tensor of the architecture. Received: .*layer4.1.conv2.weight",
        ),
        ({"layer5.0.conv1.weight": np.ones((1,), "float32")}, "must not have tensors that .*'layer5.0.conv1.weight'"),
        (
            {"bn1.bias": np.ones((32,), "float32")},
            r"of the shapes of the architecture.*'bn1.bias' of the shape \(32,\)",
        ),
    ],
)
def test_tensors_of_another_architecture_are_refused(
    change: dict[str, Any], message: str, tensors: dict[str, np.ndarray], tmp_path: Path
) -> None:
    changed = {name: value for name, value in {**tensors, **change}.items() if value is not None}
    safetensors.save_file(changed, str(tmp_path / "model.safetensors"))
    with pytest.raises(tk.WeightsError, match=message):
        create(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "imagenet"}, "`weights` must be a file or None for 'timm:resnet18'. Received: 'imagenet'"),
        ({"name": "timm:vit_base"}, "`name` must be 'timm:' and an architecture that KerasHub converts. Received"),
        ({"name": "timm:resnet19"}, "Received: 'timm:resnet19'. Did you mean 'resnet18'"),
        ({"preprocessing": None}, "`preprocessing` must be given for 'timm:resnet18'"),
        ({"alpha": 1.0}, "`alpha` is not supported for 'timm:resnet18'"),
    ],
)
def test_arguments_that_cannot_be_honored_are_refused(arguments: dict[str, Any], message: str) -> None:
    given = {"name": "timm:resnet18", "weights": None, "preprocessing": "torch", "input_shape": SHAPE, **arguments}
    with pytest.raises(ValueError, match=message):
        tk.BackboneFactory.create(**given)


def test_architecture_that_differs_from_timm_is_refused(tmp_path: Path) -> None:
    safetensors.save_file({"a": np.ones(1)}, str(tmp_path / "model.safetensors"))
    with pytest.raises(ValueError, match="that KerasHub computes as timm does. Received: 'timm:densenet121'"):
        tk.BackboneFactory.create("timm:densenet121", weights=tmp_path / "model.safetensors", preprocessing="torch")


def test_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(tk.WeightsError, match="A .safetensors file must be readable. Received: "):
        create(tmp_path / "model.safetensors")


def test_values_of_each_type_are_read(tmp_path: Path) -> None:
    tensors = {kind: np.arange(6).reshape(2, 3).astype(kind) for kind in KINDS}
    tensors["transposed"] = np.asfortranarray(np.arange(6, dtype="float32").reshape(2, 3))
    write_zip(tmp_path / "model.pth", tensors)
    for name, array in load_torch_tensors(tmp_path / "model.pth").items():
        np.testing.assert_array_equal(array, tensors[name])
        assert array.dtype == tensors[name].dtype


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "model.pth", {"a": np.zeros(1000, "float32")}, compressed=True)
    with pytest.raises(tk.WeightsError, match="must contain only tensors.*is compressed"):
        load_torch_tensors(tmp_path / "model.pth")


def test_archive_runs_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Malicious:
        def __reduce__(self) -> Any:
            return print, ("this must never be printed",)

    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": Malicious()}, protocol=2))
    with pytest.raises(tk.WeightsError, match="must contain only tensors.*print"):
        load_torch_tensors(tmp_path / "model.pth")
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["missing values", "short values", "no pickle"])
def test_incomplete_archive_is_refused(damage: str, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pth", tmp_path / "model.pth"
    write_zip(whole, {"a": np.ones(4, "float32")})
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            values = source.read(name)
            if name.endswith("data/0"):
                if damage == "missing values":
                    continue
                values = values[:8] if damage == "short values" else values
            if not (damage == "no pickle" and name.endswith("data.pkl")):
                target.writestr(name, values)
    with pytest.raises(tk.WeightsError, match="must contain only tensors. Received: "):
        load_torch_tensors(path)


def test_check_of_features_refuses_another_model(tensors: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_zip(tmp_path / "model.pth", tensors)
    backbone = create(tmp_path / "model.pth")
    features = np.asarray(backbone(images()))
    with pytest.raises(tk.WeightsError, match="within 0.0001 of the largest. Received: a difference of 0.0099"):
        backbone.check_features(images(), features + 0.01 * np.abs(features).max())
    assert backbone.check_features(images(), features + 1e-3, tolerance=1) > 0
    with pytest.raises(ValueError, match=r"`expected` must be features of the shape \(2, 2, 2, 512\)"):
        backbone.check_features(images(), features[:, :1])
    with pytest.raises(ValueError, match=r"`images` must have the shape \(n, 64, 64, 3\). Received: \(2, 32, 64, 3\)"):
        backbone.check_features(images()[:, :32], features)
