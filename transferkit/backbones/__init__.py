"""Pretrained backbones with their preprocessing, by name or custom."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transferkit._utils.lazy import lazy_getattr

# The catalogue can be read without TensorFlow.
_PUBLIC = {
    "Backbone": "backbone",
    "BackboneFactory": "factory",
    "BackboneSpec": "spec",
    "Catalogue": "catalogue",
}

__all__ = ["Backbone", "BackboneFactory", "BackboneSpec", "Catalogue"]

__getattr__: Callable[[str], Any] = lazy_getattr(__name__, _PUBLIC)

if TYPE_CHECKING:
    from transferkit.backbones.backbone import Backbone
    from transferkit.backbones.catalogue import Catalogue
    from transferkit.backbones.factory import BackboneFactory
    from transferkit.backbones.spec import BackboneSpec
