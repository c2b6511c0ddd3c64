"""Editors that change a few weights: the survey's local modification (arXiv:2310.16218)."""
