"""What changed in the world, and does the model know it? Sources, snapshots, diffs, probes."""
