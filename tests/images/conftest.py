"""The folder of the data tests."""

from tests.data.conftest import folder

__all__ = ["folder"]
