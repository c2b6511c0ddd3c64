"""Several processes that compute one result: their group, and weights sharded by DeepSpeed."""
