"""The file of a saved classifier with the features of its training images."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path

import numpy as np

from transferkit._utils.hashing import sha256_of
from transferkit.calibration import Calibration
from transferkit.metadata import Metadata, invalid_artifact

FEATURES_FILE = "training_features.npy"


def write_features(folder: Path, calibration: Calibration | None) -> str | None:
    """Write the training features of a calibration; return the checksum of the file, or None without features."""
    if calibration is None or calibration.training_features is None:
        return None
    np.save(folder / FEATURES_FILE, calibration.training_features, allow_pickle=False)
    return sha256_of(folder / FEATURES_FILE)


def read_features(folder: Path, metadata: Metadata) -> Calibration | None:
    """Return the calibration of the metadata with its training features.

    Raises:
        ArtifactError: when the file is missing, or is not the one that was saved.
    """
    if metadata.features_sha256 is None or metadata.calibration is None:
        return metadata.calibration
    path = folder / FEATURES_FILE
    if not path.is_file():
        raise invalid_artifact(folder, f"{FEATURES_FILE} is missing")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise invalid_artifact(folder, f"{FEATURES_FILE} cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != metadata.features_sha256:
        raise invalid_artifact(folder, f"{FEATURES_FILE} is not the file that was saved (its checksum differs)")
    try:
        features = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise invalid_artifact(folder, f"{FEATURES_FILE} is damaged") from error
    return dataclasses.replace(metadata.calibration, training_features=features)
