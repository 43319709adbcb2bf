"""Batches whose processes are killed at random; ``make batch-soak``."""
