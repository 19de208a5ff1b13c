"""Packages that a test needs, looked up without an import: importing OpenVINO sends usage data."""

from __future__ import annotations

import importlib.util

import pytest


def skip_without(package: str) -> None:
    """Skip the test where a package is not installed."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
