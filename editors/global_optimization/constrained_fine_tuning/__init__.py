"""Fine-tuning under a constraint: one matrix, trained on all edits at once."""
