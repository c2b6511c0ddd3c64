"""Editors that train on all edits at once: the survey's global optimisation (arXiv:2310.16218)."""
