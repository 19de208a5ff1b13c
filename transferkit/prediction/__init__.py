"""Prediction with trained models: single images, many images, files of predictions, ensembles."""

from transferkit.prediction.ensemble import Ensemble
from transferkit.prediction.number_prediction import NumberPrediction
from transferkit.prediction.prediction import Prediction
from transferkit.prediction.prediction_file import PredictionFile
from transferkit.prediction.predictions import Predictions
from transferkit.prediction.predictor import ENGINES, Predictor
from transferkit.prediction.probabilities import to_probabilities

__all__ = [
    "ENGINES",
    "Ensemble",
    "NumberPrediction",
    "Prediction",
    "PredictionFile",
    "Predictions",
    "Predictor",
    "to_probabilities",
]
