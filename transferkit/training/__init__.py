"""Training: frozen phase, fine-tuning, evaluation and saving."""

from transferkit.training.hierarchical_loss import HierarchicalCrossentropy
from transferkit.training.history import History, PhaseRecord, RunHistory
from transferkit.training.learning_rate_search import LearningRateSearch
from transferkit.training.phase import Phase
from transferkit.training.plan import Plan
from transferkit.training.trainer import Trainer

__all__ = [
    "HierarchicalCrossentropy",
    "History",
    "LearningRateSearch",
    "Phase",
    "PhaseRecord",
    "Plan",
    "RunHistory",
    "Trainer",
]
