"""Training: frozen phase, fine-tuning, evaluation and saving."""

from transferkit.training.history import History, Phase, RunHistory
from transferkit.training.plan import Plan
from transferkit.training.trainer import Trainer

__all__ = ["History", "Phase", "Plan", "RunHistory", "Trainer"]
