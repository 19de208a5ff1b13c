"""The outputs of a classifier that an engine computes."""

from __future__ import annotations

import keras

from transferkit.modeling.embedding import embedding_model, with_embedding

_MODELS = {"predictions": lambda model: model, "features": embedding_model, "both": with_embedding}


def select_outputs(model: keras.Model, outputs: str) -> keras.Model:
    """Return a model with the layers of `model` that computes "predictions", "features" or "both"."""
    return _MODELS[outputs](model)
