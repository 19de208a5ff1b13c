"""Features: the constant part of a model, run once by the fastest engine and kept."""
