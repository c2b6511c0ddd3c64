"""Exports of an edit, made before the evaluation: a checkpoint and a LoRA adapter."""
