"""Training: frozen phase, fine-tuning, evaluation and saving."""

from transferkit.training.history import History, Phase, RunHistory
from transferkit.training.trainer import Trainer

__all__ = ["History", "Phase", "RunHistory", "Trainer"]
