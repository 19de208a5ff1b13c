"""The command `transferkit`."""
