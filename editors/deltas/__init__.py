"""What an editor returns, and nothing of how it is found: weight changes, codebooks,
attachments."""
