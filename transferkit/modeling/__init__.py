"""Questions about any keras.Model: its graph, what is frozen, where it can be split, what identifies it."""
