"""Processes that compute one result together: groups, and weights sharded by DeepSpeed."""
