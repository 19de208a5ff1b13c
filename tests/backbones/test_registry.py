"""The registry of custom backbones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.backbones import BackboneSpec, registry


@pytest.fixture
def entry() -> Iterator[registry.RegistryEntry]:
    entry = registry.RegistryEntry("My Net", small_network(), None, None)
    registry.register(entry)
    yield entry
    if registry.lookup("My Net") is not None:
        registry.unregister("My Net")


def test_lookup_ignores_case_and_punctuation(entry: registry.RegistryEntry) -> None:
    assert registry.lookup("my-net") is entry
    assert registry.lookup("other") is None
    assert registry.registered_entries() == [entry]


def test_register_replaces_entry(entry: registry.RegistryEntry) -> None:
    other = registry.RegistryEntry("MY_NET", entry.build, None, None)
    registry.register(other)
    assert registry.registered_entries() == [other]


def test_unregister_removes_backbone(entry: registry.RegistryEntry) -> None:
    tk.BackboneFactory.create("my net")
    tk.BackboneFactory.unregister("my-net")
    assert registry.registered_entries() == []
    with pytest.raises(ValueError, match="`name` must be a backbone of the catalogue or a registered one"):
        tk.BackboneFactory.create("my net")


def test_unregister_unknown_name_suggests_closest(entry: registry.RegistryEntry) -> None:
    with pytest.raises(
        ValueError, match=r"must be a registered backbone. Received: 'My Nett'. Did you mean 'My Net'\?"
    ):
        tk.BackboneFactory.unregister("My Nett")
    with pytest.raises(ValueError, match="Received: 'ResNet50'. Registered are: My Net."):
        tk.BackboneFactory.unregister("ResNet50")


def test_catalogue_lists_registered_spec() -> None:
    values = dict.fromkeys(
        ("parameters", "features", "depth", "top1", "top5", "size_mb", "default_size", "min_size"), 32
    )
    texts = dict.fromkeys(("preprocessing", "license", "paper", "source"), "none")
    spec = BackboneSpec(name="Listed", family="Listed", **values, **texts)
    tk.BackboneFactory.register("Listed", lambda input_shape, weights: small_network(input_shape[0]), spec=spec)
    try:
        assert spec in tk.BackboneFactory.catalogue()
        assert tk.BackboneFactory.create("listed").input_shape == (32, 32, 3)
    finally:
        tk.BackboneFactory.unregister("Listed")
    assert spec not in tk.BackboneFactory.catalogue()
