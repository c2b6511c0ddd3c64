"""Datasets of facts asked for by prompts and questions."""
