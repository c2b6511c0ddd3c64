"""Models on disk: finding and loading them, rewriting single tensors, LoRA adapters."""
