"""Metrics as functions of weights: with ones the metrics of the report, else those of repeated images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.random_outcomes import SEEDS, random_outcomes
from transferkit.evaluation.ordinal import ORDINAL_METRICS
from transferkit.evaluation.weighted_metrics import METRIC_NAMES, metric_value, weighted_metric


@pytest.mark.parametrize("name", METRIC_NAMES)
@settings(max_examples=15)
@given(seed=SEEDS, multi_label=st.booleans(), classes=st.integers(2, 4))
def test_weighted_metric_is_that_of_repeated_images(name: str, seed: int, multi_label: bool, classes: int) -> None:
    has_order = name in ORDINAL_METRICS  # These require one label per image.
    outcomes = random_outcomes(seed, classes=classes, multi_label=multi_label and not has_order, absent=seed % 2)
    weights = np.random.default_rng(seed).integers(0, 3, (3, 40)).astype(float)
    repeated = [outcomes.take(np.repeat(np.arange(40), row)) for row in weights.astype(int)]
    expected = [metric_value(name, sample) for sample in repeated]
    assert weighted_metric(name, outcomes)(weights) == pytest.approx(expected, nan_ok=True, abs=1e-12)


def test_metric_value_of_top_k_by_name() -> None:
    outcomes = random_outcomes(0)
    assert metric_value("top_1_accuracy", outcomes) == metric_value("accuracy", outcomes)
    assert metric_value("top_4_accuracy", outcomes) == 1


@pytest.mark.parametrize("name", ["acuracy", "top_0_accuracy", "top_accuracy", 3, None])
def test_unknown_metric_raises(name: object) -> None:
    with pytest.raises(ValueError, match=r"`metric` must be one of 'accuracy', .* Received: ") as error:
        weighted_metric(name, random_outcomes(0))  # type: ignore[arg-type]
    assert ("Did you mean 'accuracy'" in str(error.value)) == (name == "acuracy")
