"""transferkit: image classification by transfer learning on TensorFlow and Keras 3.

Five builders make a classifier out of a folder of photographs: `DatasetBuilder`, `AugmentationBlock`,
`BackboneFactory`, `ClassifierHead` and `Trainer`. TensorFlow is imported when the first name that needs it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that defines it. A name that is its own module gives that module.
_PUBLIC = {
    "ArtifactError": "errors",
    "AugmentationBlock": "augmentation",
    "BackboneFactory": "backbones",
    "ClassifierHead": "head",
    "DataError": "errors",
    "DatasetBuilder": "data",
    "DownloadError": "errors",
    "ImageError": "errors",
    "MissingExtraError": "errors",
    "Prediction": "prediction",
    "Predictor": "prediction",
    "Report": "evaluation",
    "Trainer": "training",
    "WeightsError": "errors",
    "build_classifier": "classifier",
    "cache": "cache",
    "compare_backbones": "comparison",
    "datasets": "datasets",
    "load": "saving",
    "read_image": "images",
    "scan": "data",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from transferkit import cache, datasets
    from transferkit.augmentation.block import AugmentationBlock
    from transferkit.backbones import BackboneFactory
    from transferkit.classifier import build_classifier
    from transferkit.comparison import compare_backbones
    from transferkit.data import DatasetBuilder, scan
    from transferkit.errors import (
        ArtifactError,
        DataError,
        DownloadError,
        ImageError,
        MissingExtraError,
        WeightsError,
    )
    from transferkit.evaluation import Report
    from transferkit.head import ClassifierHead
    from transferkit.images import read_image
    from transferkit.prediction import Prediction, Predictor
    from transferkit.saving import load
    from transferkit.training import Trainer


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'transferkit' has no attribute {name!r}")
    module = importlib.import_module(f"transferkit.{_PUBLIC[name]}")
    value = module if _PUBLIC[name] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
