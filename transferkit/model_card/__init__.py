"""Model cards of saved models."""

from transferkit.model_card.parts import PLOT_FILE, CardContents
from transferkit.model_card.writing import CARD_FILE, card_text, write_model_card

__all__ = ["CARD_FILE", "PLOT_FILE", "CardContents", "card_text", "write_model_card"]
