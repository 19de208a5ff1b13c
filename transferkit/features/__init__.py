"""Cached features: extraction, the on-disk store, and linear probes."""
