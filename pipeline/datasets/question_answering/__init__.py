"""Datasets whose facts are asked for by prompts and questions, one file a dataset."""
