"""The registry of custom backbones, one per process."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import keras

from transferkit._utils.checks import did_you_mean
from transferkit.backbones.spec import BackboneSpec


@dataclasses.dataclass(frozen=True)
class RegistryEntry:
    """A registered model, or the function that builds it, with its preprocessing and catalogue row."""

    name: str
    build: Callable[..., keras.Model] | keras.Model
    preprocessing: Any
    spec: BackboneSpec | None


_entries: dict[str, RegistryEntry] = {}


def normalize_name(name: str) -> str:
    """Return a name without case and punctuation.

    >>> normalize_name("Mobile-Net V2")
    'mobilenetv2'
    """
    return re.sub(r"[^a-z0-9]", "", str(name).casefold())


def register(entry: RegistryEntry) -> None:
    """Add an entry, or replace the one of the same name."""
    _entries[normalize_name(entry.name)] = entry


def unregister(name: str) -> None:
    """Remove the entry of a name; raise a ValueError if there is none."""
    if _entries.pop(normalize_name(name), None) is None:
        names = sorted(entry.name for entry in registered_entries())
        hint = did_you_mean(name, names) or f"Registered are: {', '.join(names) or 'none'}."
        raise ValueError(f"`name` must be a registered backbone. Received: {name!r}. {hint}")


def lookup(name: str) -> RegistryEntry | None:
    """Return the entry of a name, or None."""
    return _entries.get(normalize_name(name))


def registered_entries() -> list[RegistryEntry]:
    """Return all entries, in the order of registration."""
    return list(_entries.values())
