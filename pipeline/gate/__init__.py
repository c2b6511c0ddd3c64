"""Stage 8, gate: the evaluation's report, bounds -> passed or not, and each failed check."""
