"""What is served of an edit, made before it is judged: a checkpoint, a LoRA adapter."""
