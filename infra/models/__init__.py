"""Models on disk: found by name, loaded, rewritten tensor by tensor, LoRA adapters."""
