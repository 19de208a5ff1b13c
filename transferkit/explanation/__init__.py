"""Explanations of predictions: which part of an image a class was predicted from, and similar training images."""

from transferkit.explanation.class_activation import ClassActivation
from transferkit.explanation.explain_images import METHODS, explain
from transferkit.explanation.explanation import Explanation, Explanations
from transferkit.explanation.faithfulness import Faithfulness, faithfulness
from transferkit.explanation.integrated_gradients import IntegratedGradients
from transferkit.explanation.neighbors import Neighbor
from transferkit.explanation.occlusion import Occlusion

__all__ = [
    "METHODS",
    "ClassActivation",
    "Explanation",
    "Explanations",
    "Faithfulness",
    "IntegratedGradients",
    "Neighbor",
    "Occlusion",
    "explain",
    "faithfulness",
]
