"""transferkit: image classification by transfer learning on TensorFlow and Keras 3.

Five builders turn a folder of images into a classifier: `DatasetBuilder`, `AugmentationBlock`, `BackboneFactory`,
`ClassifierHead` and `Trainer`. TensorFlow is imported when the first name that needs it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transferkit._utils.lazy import lazy_getattr
from transferkit._utils.version import __version__

# Public name -> the module that defines it. A name that is its own module is that module.
_PUBLIC = {
    "ArtifactError": "errors",
    "AugmentationBlock": "augmentation",
    "AutoFit": "autofitting",
    "Backbone": "backbones",
    "BackboneFactory": "backbones",
    "Calibration": "calibration",
    "ClassifierHead": "head",
    "Comparison": "comparison",
    "Data": "data",
    "DataError": "errors",
    "DataReport": "data",
    "DatasetBuilder": "data",
    "DownloadError": "errors",
    "Ensemble": "prediction",
    "Explanation": "explanation",
    "ExportError": "errors",
    "ExportReport": "exporting",
    "HierarchicalCrossentropy": "training",
    "History": "training",
    "ImageError": "errors",
    "ImageSpec": "images",
    "Inspection": "inspection",
    "MissingExtraError": "errors",
    "Phase": "training",
    "Plan": "training",
    "NumberPrediction": "prediction",
    "Prediction": "prediction",
    "Predictions": "prediction",
    "Predictor": "prediction",
    "RayEngine": "sharding",
    "RegressionHead": "head",
    "RegressionReport": "evaluation",
    "Report": "evaluation",
    "ShardError": "errors",
    "Shards": "sharding",
    "StorageError": "errors",
    "Trainer": "training",
    "TrainingError": "errors",
    "UploadError": "errors",
    "WeightsError": "errors",
    "autofit": "autofitting",
    "build_classifier": "classifier",
    "cache": "cache",
    "compare_backbones": "comparison",
    "compare_reports": "evaluation",
    "datasets": "datasets",
    "extract_features": "sharding",
    "explain": "explanation",
    "explanation": "explanation",
    "export": "exporting",
    "inspect": "inspection",
    "interchange": "interchange",
    "load": "loading",
    "predict_many": "sharding",
    "push_to_hub": "huggingface",
    "read_image": "images",
    "scan": "data",
    "sklearn": "sklearn",
    "zero_shot": "zero_shot_classifier",
}

__all__ = ["__version__", *_PUBLIC]

__getattr__: Callable[[str], Any] = lazy_getattr(__name__, _PUBLIC)

if TYPE_CHECKING:
    from transferkit import cache, datasets, explanation, interchange, sklearn
    from transferkit.augmentation import AugmentationBlock
    from transferkit.autofitting import AutoFit, autofit
    from transferkit.backbones import Backbone, BackboneFactory
    from transferkit.calibration import Calibration
    from transferkit.classifier import build_classifier
    from transferkit.comparison import Comparison, compare_backbones
    from transferkit.data import Data, DataReport, DatasetBuilder, scan
    from transferkit.errors import (
        ArtifactError,
        DataError,
        DownloadError,
        ExportError,
        ImageError,
        MissingExtraError,
        ShardError,
        StorageError,
        TrainingError,
        UploadError,
        WeightsError,
    )
    from transferkit.evaluation import RegressionReport, Report, compare_reports
    from transferkit.explanation import Explanation, explain
    from transferkit.exporting import ExportReport, export
    from transferkit.head import ClassifierHead, RegressionHead
    from transferkit.huggingface import push_to_hub
    from transferkit.images import ImageSpec, read_image
    from transferkit.inspection import Inspection, inspect
    from transferkit.loading import load
    from transferkit.prediction import Ensemble, NumberPrediction, Prediction, Predictions, Predictor
    from transferkit.sharding import RayEngine, Shards, extract_features, predict_many
    from transferkit.training import HierarchicalCrossentropy, History, Phase, Plan, Trainer
    from transferkit.zero_shot_classifier import zero_shot


def __dir__() -> list[str]:
    return sorted(__all__)
