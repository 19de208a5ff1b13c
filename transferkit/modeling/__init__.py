"""Questions about any keras.Model: its graph, frozen layers, partition, precision and fingerprint."""
