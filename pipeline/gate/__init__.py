"""Stage 8, gate: a report against bounds -> passed or not, by which bound and how far."""
