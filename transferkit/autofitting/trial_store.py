"""Trials of earlier searches on the same images, so that an interrupted search continues."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from transferkit._utils.files import atomic_write, cache_home
from transferkit._utils.hashing import fingerprint
from transferkit.autofitting.development import Development, Sample
from transferkit.autofitting.heads import HeadChoice
from transferkit.backbones import Backbone
from transferkit.errors import StorageError
from transferkit.modeling.fingerprint import model_fingerprint

# Changes whenever the same images would have other predictions.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Trial:
    """A head on a backbone, with its predictions of images that were left out in turn.

    Attributes:
        backbone: position of the backbone among those of the search.
        head: the head.
        logits: (n, units), of the images of the sample, divided by their temperature.
        temperature: the divisor.
        seconds: that it took, 0 for a stored one.
    """

    backbone: int
    head: HeadChoice
    logits: np.ndarray
    temperature: float
    seconds: float


class TrialStore:
    """The trials of one sample of images.

    Args:
        development: the images of the search.
        sample: those that its trials use.
    """

    def __init__(self, development: Development, sample: Sample) -> None:
        split = sample.split
        contents = b"".join(split.content_hashes()).hex()
        folds = [fold.tolist() for fold in sample.folds]
        settings = split.image_spec.cache_key(), development.seed, split.labels.tolist(), folds
        self._key = fingerprint(_VERSION, contents, json.dumps(settings, default=str))
        self._shape = len(split)

    def load(self, backbone: Backbone, kind: str) -> tuple[HeadChoice, np.ndarray] | None:
        """Return a stored head of a kind with its logits, or None."""
        damage = OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile
        with contextlib.suppress(*damage), np.load(self._path(backbone, kind)) as file:
            logits, l2 = np.array(file["logits"]), float(file["l2"])
            if logits.ndim == 2 and len(logits) == self._shape and np.isfinite(logits).all():
                return HeadChoice(kind, None if np.isnan(l2) else l2), logits
        return None

    def save(self, backbone: Backbone, head: HeadChoice, logits: np.ndarray) -> None:
        """Store a trial; a full disk is no error."""
        values: dict[str, Any] = {"logits": logits, "l2": np.array(np.nan if head.l2 is None else head.l2)}
        with (
            contextlib.suppress(OSError, StorageError),
            atomic_write(self._path(backbone, head.kind), suffix=".npz") as path,
        ):
            np.savez(path, **values)

    def _path(self, backbone: Backbone, kind: str) -> Path:
        name = fingerprint(self._key, model_fingerprint(backbone.feature_extractor()), kind)
        return cache_home() / "trials" / f"{name}.npz"
