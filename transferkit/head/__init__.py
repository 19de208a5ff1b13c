"""Classification heads: from features to logits."""

from transferkit.head.classifier_head import ClassifierHead
from transferkit.head.few_shot import few_shot_kind
from transferkit.head.pooling import POOLINGS, global_pooling
from transferkit.head.regression_head import RegressionHead, has_unit, label_unit, set_unit, unit_layer, unit_scale

__all__ = [
    "POOLINGS",
    "ClassifierHead",
    "RegressionHead",
    "few_shot_kind",
    "global_pooling",
    "has_unit",
    "label_unit",
    "set_unit",
    "unit_layer",
    "unit_scale",
]
