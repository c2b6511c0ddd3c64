"""Whether the tokenizer of a model directory works within limits of time and memory."""
