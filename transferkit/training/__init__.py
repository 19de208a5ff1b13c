"""Training: frozen phase, fine-tuning, evaluation and saving."""

from transferkit.training.history import History, PhaseRecord, RunHistory
from transferkit.training.learning_rate_search import LearningRateSearch
from transferkit.training.phase import Phase
from transferkit.training.plan import Plan
from transferkit.training.trainer import Trainer

__all__ = ["History", "LearningRateSearch", "Phase", "PhaseRecord", "Plan", "RunHistory", "Trainer"]
