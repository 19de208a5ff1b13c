"""Pretrained backbones with their preprocessing, by name or custom."""

from transferkit.backbones.backbone import Backbone
from transferkit.backbones.catalogue import Catalogue
from transferkit.backbones.factory import BackboneFactory
from transferkit.backbones.spec import BackboneSpec

__all__ = ["Backbone", "BackboneFactory", "BackboneSpec", "Catalogue"]
