"""The image presets in KerasHub's registry, as rows of a catalogue; nothing is downloaded."""

from __future__ import annotations

import re
from typing import Any

from transferkit._utils.checks import did_you_mean
from transferkit.backbones.catalogue import Catalogue
from transferkit.backbones.hub_model import import_keras_hub
from transferkit.backbones.spec import BackboneSpec
from transferkit.backbones.table import read_csv

_CSV = "hub_families.csv"


def hub_catalogue() -> Catalogue:
    """Return the rows of the image presets of the installed KerasHub, sorted by name.

    Raises:
        MissingExtraError: if KerasHub is not installed.
    """
    hub = import_keras_hub('catalogue(source="hub")')
    rows = [_row(name, preset["metadata"], family) for family, name, preset in _image_presets(hub)]
    return Catalogue(rows).sorted("name")


def check_preset_name(name: str) -> None:
    """Raise a ValueError unless `name` is an image preset of the installed KerasHub."""
    hub = import_keras_hub(f"The backbone {'hub:' + name!r}")
    names = sorted(preset for _, preset, _ in _image_presets(hub))
    if name in names:
        return
    received = f"Received: {'hub:' + name!r}"
    if name in hub.models.Backbone.presets:
        received += ", a preset without image features"
    suggestion = did_you_mean(name, names) or 'BackboneFactory.catalogue(source="hub") lists them.'
    raise ValueError(f"`name` must be 'hub:' and an image preset of KerasHub. {received}. {suggestion}")


def _families() -> dict[str, list[dict[str, str]]]:
    families: dict[str, list[dict[str, str]]] = {}
    for row in read_csv(_CSV):
        families.setdefault(row["family"], []).append(row)
    return families


def _image_presets(hub: Any) -> list[tuple[str, str, Any]]:
    """Return (family, name, preset) of the presets whose backbone gives features of images."""
    found = []
    for family in _families():
        kind = getattr(hub.models, f"{family}Backbone", None)
        # Older versions of KerasHub lack some families.
        found += [(family, name, preset) for name, preset in (kind.presets if kind else {}).items()]
    return found


def _row(name: str, metadata: dict[str, Any], family: str) -> BackboneSpec:
    """Return the row of a preset; the table has the features, sizes and outputs of names that match a pattern."""
    values = next(row for row in _families()[family] if re.search(row["pattern"], name))
    size = re.search(r"(\d{3,4})x\1|_r?(\d{3,4})(?=_|$)", f"{metadata.get('description', '')} {name}")
    texts: dict[str, Any] = {"source": "https://keras.io/keras_hub/presets/", "preprocessing": "own"}
    return BackboneSpec(
        name=f"hub:{name}",
        family=family,
        parameters=int(metadata["params"]),
        features=int(values["features"]),
        default_size=int(next(filter(None, size.groups())) if size else values["size"]),
        output=values["output"],
        **texts,
    )
