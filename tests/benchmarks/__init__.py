"""Tests of the simulations and measurements in `benchmarks`."""
