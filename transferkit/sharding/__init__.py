"""Features and predictions of any number of images, in shards that processes and machines compute."""

from transferkit.sharding.ray_engine import RayEngine
from transferkit.sharding.result import Shards
from transferkit.sharding.run import extract_features, predict_many

__all__ = ["RayEngine", "Shards", "extract_features", "predict_many"]
