"""Classification heads: from features to logits."""

from transferkit.head.classifier_head import ClassifierHead
from transferkit.head.few_shot import few_shot_kind
from transferkit.head.pooling import POOLINGS, global_pooling

__all__ = ["POOLINGS", "ClassifierHead", "few_shot_kind", "global_pooling"]
