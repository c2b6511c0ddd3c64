"""What must not move: other facts, other prompts, edits of earlier batches."""
